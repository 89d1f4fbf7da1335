"""
What the log knows about a request: its ids when it begins, one line when it ends.

The line is written for every request, so it takes a short way: no processors, no record.
"""

from __future__ import annotations

import logging
import random
import sys
import time
from typing import Any, Final

from atom_platform.extension.request_record import RequestRecord
from atom_platform.ids import is_request_id, new_id
from atom_platform.logs.access_line import ACCESS_LOGGER, AccessEntry, shown_path
from atom_platform.logs.encode import encode_line
from atom_platform.logs.exchange import Exchange
from atom_platform.logs.output import OUTPUT, RESERVED
from atom_platform.timestamps import rfc3339_now
from atom_platform.trace_context import active_span, parse_trace_context

__all__ = ["ACCESS_LOGGER", "AccessLog"]

#: Of what a client sends; more may wait in the queue only as a line that is measured.
_SHORT_PATH: Final = 256
_SHORT_METHOD: Final = 32
_SHORT_ADDRESS: Final = 64

_log: Final = logging.getLogger(ACCESS_LOGGER)


class AccessLog:
    """
    Gives each request its ids, and writes its access line.

    Args:
        sample: Share of the successful requests that get a line; the others get one always.
    """

    def __init__(self, *, sample: float = 1.0) -> None:
        self._sample = sample

    def begin(self, exchange: Exchange, environ: dict[str, Any]) -> None:
        """
        Settle the request's ids: in *exchange*, in its lines, and in *environ* for latecomers.
        """
        # Most requests have neither, and `in` is cheaper than `get`.
        if "HTTP_X_REQUEST_ID" in environ and is_request_id(environ["HTTP_X_REQUEST_ID"]):
            request_id = environ["HTTP_X_REQUEST_ID"]
        else:
            request_id = new_id()
        environ["atom.request_id"] = exchange.request_id = request_id
        if "HTTP_TRACEPARENT" in environ:
            exchange.noted().trace = parse_trace_context(
                environ["HTTP_TRACEPARENT"], environ.get("HTTP_TRACESTATE", "")
            )

    def write(self, exchange: Exchange, record: RequestRecord) -> None:
        """
        Write the line of an answered request, unless its level or the sample leaves it out.

        Args:
            exchange: What was noted while the request was answered.
            record: The request, with its id.
        """
        path, status = record.path, record.status
        if status < 400:
            number, level = (10, "DEBUG") if path.startswith("/health/") else (20, "INFO")
        elif status < 500:
            number, level = 20, "INFO"
        elif status == 503 and path.startswith("/health/"):
            number, level = 30, "WARNING"  # "not ready" is an answer, not a fault of this service
        else:
            number, level = 40, "ERROR"
        if not _log.isEnabledFor(number):
            return
        sample = self._sample
        if sample < 1.0 and status < 400 and random.random() >= sample:  # noqa: S311 — no secret
            return
        some = exchange.particulars
        if (
            (some is None or not (some.notes or some.exception or some.aborted))
            and number < 40
            and (sample >= 1.0 or status >= 400)
            and len(path) <= _SHORT_PATH
            and len(record.method) <= _SHORT_METHOD
            and len(record.remote_addr) <= _SHORT_ADDRESS
            and OUTPUT.render is encode_line
            and OUTPUT.writer is not None
            and "opentelemetry.trace" not in sys.modules
        ):
            more = ""
            if some is not None and some.db_queries:
                more = (
                    f',"db_queries":{some.db_queries},"db_ms":{int(some.db_seconds * 1e6) / 1000}'
                )
            OUTPUT.writer.write_access(AccessEntry(time.time(), record, more, level))
            return
        OUTPUT.emit(level, self._line(exchange, level, record))

    def _line(self, exchange: Exchange, level: str, record: RequestRecord) -> dict[str, Any]:
        """Return the line with all that may be in one; in the order of the short way."""
        line: dict[str, Any] = {
            "timestamp": rfc3339_now(),
            "level": level,
            "logger": ACCESS_LOGGER,
            "event": "http_request",
            **exchange.fields,
            "method": record.method,
            "path": shown_path(record.path),
            "endpoint": record.endpoint,
            "status": record.status,
            "duration_ms": int(record.seconds * 1e6) / 1000,
            "bytes": record.body_bytes,
            "remote_addr": record.remote_addr,
        }
        some = exchange.noted()
        if some.db_queries:
            line["db_queries"] = some.db_queries
            line["db_ms"] = int(some.db_seconds * 1e6) / 1000
        if some.exception is not None:
            line["exception_type"] = type(some.exception).__name__
        if some.aborted:
            line["aborted"] = some.aborted
        if self._sample < 1.0 and record.status < 400:
            line["sample"] = self._sample
        if "opentelemetry.trace" in sys.modules and (span := active_span()):
            line.update(trace_id=span.trace_id, span_id=span.span_id)
        if some.notes is not None:
            for key, value in some.notes.items():
                line.setdefault(f"{key}_" if key in RESERVED else key, value)
        return line

    def observe(self, record: RequestRecord) -> None:
        """Write the line of a request that was answered outside of the application."""
        # The id stands in the line as it is: nothing but an id may pass.
        if record.request_id is None or not is_request_id(record.request_id):
            record = record._replace(request_id=new_id())
        exchange = Exchange()
        exchange.request_id = record.request_id or ""
        if record.trace is not None:
            exchange.noted().trace = record.trace
        if record.reason:
            exchange.noted().notes = {"reason": record.reason}
        self.write(exchange, record)
