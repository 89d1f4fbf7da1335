"""
The access log: it chooses the id of a request and writes one line when the request has ended.

`AccessLog.begin` chooses the id, `AccessLog.write` writes the line. Most lines take a fast path
around structlog and `logging`: their content is queued, and the writer thread makes the text.
"""

from __future__ import annotations

import logging
import random
import sys
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import orjson

from atom_platform.extension.request_record import RequestRecord
from atom_platform.ids import is_request_id, new_id
from atom_platform.logs.context import RequestScope
from atom_platform.logs.encode import encode_line
from atom_platform.logs.records import LOG_OUTPUT, RESERVED
from atom_platform.logs.redact import redact_text
from atom_platform.timestamps import rfc3339, rfc3339_now
from atom_platform.trace_context import active_span, parse_trace_context

__all__ = ["ACCESS_LOGGER", "MAX_PATH", "AccessEntry", "AccessLog"]

ACCESS_LOGGER: Final = "atom_platform.access"
#: Characters of a path that are written; a client chooses its length.
MAX_PATH: Final = 1024
#: Characters of a path that are searched for secrets; none of the later ones is written.
_MAX_SEARCHED_PATH: Final = 16 * MAX_PATH

#: The text between timestamp and request id.
_HEADS: Final = {
    level: f'","level":"{level}","logger":"{ACCESS_LOGGER}","event":"http_request","request_id":"'
    for level in ("DEBUG", "INFO", "WARNING")
}
_THOUSANDTHS: Final = tuple(f"{number:03d}" for number in range(1000))
#: A full cache is emptied, so that a flood of different paths does not stay in memory.
_MAX_STRINGS: Final = 1000

#: The fast path queues entries whose bytes are not counted, so it takes no longer client texts.
_SHORT_PATH: Final = 256
_SHORT_METHOD: Final = 32
_SHORT_ADDRESS: Final = 64

_log: Final = logging.getLogger(ACCESS_LOGGER)


class AccessLog:
    """
    Chooses the ids of each request, and writes its access line.

    Args:
        sample: The share of the successful requests that get a line, from 0 to 1. A request with a
            status of 400 or more always gets one.
    """

    def __init__(self, *, sample: float = 1.0) -> None:
        self._sample = sample

    def begin(self, scope: RequestScope, environ: dict[str, Any]) -> None:
        """
        Choose the ids of a request, and set them in *scope* for its lines.

        The id is the client's `X-Request-ID` if that is valid, and a new one otherwise. It is also
        set in *environ*, as `atom.request_id`, for code that has only that.
        """
        # Most requests have neither header, and `in` is cheaper than `get`.
        if "HTTP_X_REQUEST_ID" in environ and is_request_id(environ["HTTP_X_REQUEST_ID"]):
            request_id = environ["HTTP_X_REQUEST_ID"]
        else:
            request_id = new_id()
        environ["atom.request_id"] = scope.request_id = request_id
        if "HTTP_TRACEPARENT" in environ:
            scope.ensure_extras().trace = parse_trace_context(
                environ["HTTP_TRACEPARENT"], environ.get("HTTP_TRACESTATE", "")
            )

    def write(self, scope: RequestScope, record: RequestRecord) -> None:
        """
        Write the line of an answered request, unless its level or the sample leaves it out.

        Args:
            scope: What was noted while the request was answered.
            record: The request, with its id.
        """
        path, status = record.path, record.status
        if status < 400:
            number, level = (10, "DEBUG") if path.startswith("/health/") else (20, "INFO")
        elif status < 500:
            number, level = 20, "INFO"
        elif status == 503 and path.startswith("/health/"):
            number, level = 30, "WARNING"  # "not ready" is an answer, not an error of this service
        else:
            number, level = 40, "ERROR"
        if not _log.isEnabledFor(number):
            return
        sample = self._sample
        if sample < 1.0 and status < 400 and random.random() >= sample:  # noqa: S311 — no secret
            return
        extras = scope.extras
        if (
            (extras is None or not (extras.fields or extras.exception or extras.aborted))
            and number < 40
            and (sample >= 1.0 or status >= 400)
            and len(path) <= _SHORT_PATH
            and len(record.method) <= _SHORT_METHOD
            and len(record.remote_addr) <= _SHORT_ADDRESS
            and LOG_OUTPUT.render is encode_line
            and LOG_OUTPUT.writer is not None
            and "opentelemetry.trace" not in sys.modules
        ):
            more = ""
            if extras is not None and extras.db_queries:
                db_ms = int(extras.db_seconds * 1e6) / 1000
                more = f',"db_queries":{extras.db_queries},"db_ms":{db_ms}'
            LOG_OUTPUT.writer.write_deferred(AccessEntry(time.time(), record, more, level))
            return
        LOG_OUTPUT.emit(level, self._line(scope, level, record))

    def _line(self, scope: RequestScope, level: str, record: RequestRecord) -> dict[str, Any]:
        """Return the line with all fields that it may have, ordered as in `AccessEntry.line`."""
        line: dict[str, Any] = {
            "timestamp": rfc3339_now(),
            "level": level,
            "logger": ACCESS_LOGGER,
            "event": "http_request",
            **scope.fields,
            "method": record.method,
            "path": redacted_path(record.path),
            "endpoint": record.endpoint,
            "status": record.status,
            "duration_ms": int(record.seconds * 1e6) / 1000,
            "bytes": record.body_bytes,
            "remote_addr": record.remote_addr,
        }
        extras = scope.ensure_extras()
        if extras.db_queries:
            line["db_queries"] = extras.db_queries
            line["db_ms"] = int(extras.db_seconds * 1e6) / 1000
        if extras.exception is not None:
            line["exception_type"] = type(extras.exception).__name__
        if extras.aborted:
            line["aborted"] = extras.aborted
        if self._sample < 1.0 and record.status < 400:
            line["sample"] = self._sample
        if "opentelemetry.trace" in sys.modules and (span := active_span()):
            line.update(trace_id=span.trace_id, span_id=span.span_id)
        if extras.fields is not None:
            for key, value in extras.fields.items():
                line.setdefault(f"{key}_" if key in RESERVED else key, value)
        return line

    def observe(self, record: RequestRecord) -> None:
        """Write the line of a request that was answered outside of the application."""
        # The line holds the id as it is, so only a valid one may pass.
        if record.request_id is None or not is_request_id(record.request_id):
            record = record._replace(request_id=new_id())
        scope = RequestScope()
        scope.request_id = record.request_id or ""
        if record.trace is not None:
            scope.ensure_extras().trace = record.trace
        if record.reason:
            scope.ensure_extras().fields = {"reason": record.reason}
        self.write(scope, record)


class AccessEntry(NamedTuple):
    """
    The content of an access line, of which the writer thread makes the text.

    That thread makes many lines in a row. After a request, with cold caches, the same work takes
    three times as long.

    Attributes:
        created: When the request ended, in seconds since the Unix epoch.
        record: The request, with its id.
        more: Further fields as JSON, each after a comma.
        level: `DEBUG`, `INFO` or `WARNING`.
    """

    created: float
    record: RequestRecord
    more: str
    level: str

    def line(self) -> bytes:
        """Return the line, with its fields in the order of `AccessLog`. Never raises."""
        created, record, more, level = self
        try:
            method, path, endpoint, status, seconds, size, address, request_id, trace, _ = record
            ids = (
                request_id
                if trace is None
                else f'{request_id}","trace_id":"{trace.trace_id}","span_id":"{trace.span_id}'
            )
            micros = int(seconds * 1e6)
            return (
                f'{{"timestamp":"{rfc3339(created)}{_HEADS[level]}{ids}",'
                f'"method":{_strings[method]},"path":{_paths[path]},'
                f'"endpoint":{_strings[endpoint]},"status":{status},'
                f'"duration_ms":{micros // 1000}.{_THOUSANDTHS[micros % 1000]},'
                f'"bytes":{size},"remote_addr":{_strings[address]}{more}}}\n'
            ).encode()
        except Exception as error:
            return encode_line(
                {
                    "timestamp": rfc3339_now(),
                    "level": level,
                    "logger": ACCESS_LOGGER,
                    "event": "log_line_discarded",
                    "error": type(error).__name__,
                }
            )


def redacted_path(path: str) -> str:
    """Return *path* decoded, without secrets, and cut to `MAX_PATH` characters."""
    text = path[:_MAX_SEARCHED_PATH]
    if not text.isascii():  # WSGI passes bytes as latin-1
        text = text.encode("latin-1", "replace").decode("utf-8", "replace")
    text = redact_text(text)  # before the cut: half a secret may not look like a secret
    return text if len(text) <= MAX_PATH else f"{text[:MAX_PATH]}…"


class JSONStringCache(dict[str, str]):
    """
    A cache: `strings[text]` is *text* as a JSON string, with its quotes.

    Most strings of access lines repeat from request to request. A line of kept strings takes a
    third of the time of one that is encoded as a whole.

    Several threads may use one: a string that another thread's clearing removes is made again.

    Args:
        clean: Returns what of a text is written. It is called once for each text.
    """

    def __init__(self, clean: Callable[[str], str] = str) -> None:
        super().__init__()
        self._clean = clean

    def __missing__(self, text: str) -> str:
        shown = self._clean(text)
        try:
            found = orjson.dumps(shown).decode()
        except TypeError:  # a lone surrogate: some servers do not check what they read
            found = orjson.dumps(shown.encode(errors="backslashreplace").decode()).decode()
        if len(self) >= _MAX_STRINGS:
            self.clear()
        self[text] = found
        return found


_paths: Final = JSONStringCache(redacted_path)
_strings: Final = JSONStringCache()
