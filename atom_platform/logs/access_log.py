"""
The access log: it chooses the id of a request and writes one line when the request has ended.

`AccessLog.begin` chooses the id, `AccessLog.write` writes the line. Most lines take a fast path
around structlog and `logging`: their parts are queued, and the writer thread makes the text
(`access_line.py`).
"""

from __future__ import annotations

import logging
import random
import sys
import time
from typing import Any, Final

from atom_platform.ids import is_request_id, new_id
from atom_platform.logs.access_line import ACCESS_LOGGER, redacted_path
from atom_platform.logs.context import RequestScope
from atom_platform.logs.encode import encode_line
from atom_platform.logs.records import LOG_OUTPUT, RESERVED
from atom_platform.logs.trace import active_span, parse_trace_context
from atom_platform.timestamps import rfc3339_now

__all__ = ["ACCESS_LOGGER", "AccessLog"]

#: The fast path queues parts whose bytes are not counted, so it takes no longer texts of a client.
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

    def begin(self, exchange: RequestScope, environ: dict[str, Any]) -> None:
        """
        Choose the ids of a request, and set them in *exchange* for its lines.

        The id is the client's `X-Request-ID` if that is valid, and a new one otherwise. It is also
        set in *environ*, as `atom.request_id`, for code that has only that.
        """
        # Most requests have neither header, and `in` is cheaper than `get`.
        if "HTTP_X_REQUEST_ID" in environ and is_request_id(environ["HTTP_X_REQUEST_ID"]):
            request_id = environ["HTTP_X_REQUEST_ID"]
        else:
            request_id = new_id()
        environ["atom.request_id"] = exchange.request_id = request_id
        if "HTTP_TRACEPARENT" in environ:
            exchange.ensure_extras().trace = parse_trace_context(
                environ["HTTP_TRACEPARENT"], environ.get("HTTP_TRACESTATE", "")
            )

    def write(
        self,
        exchange: RequestScope,
        method: str,
        path: str,
        endpoint: str,
        status: int,
        duration_seconds: float,
        response_bytes: int,
        remote_addr: str,
    ) -> None:
        """Write the line of a finished request, unless its level or the sample leaves it out."""
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
        some = exchange.extras
        if (
            (some is None or not (some.fields or some.exception or some.aborted))
            and number < 40
            and (sample >= 1.0 or status >= 400)
            and len(path) <= _SHORT_PATH
            and len(method) <= _SHORT_METHOD
            and len(remote_addr) <= _SHORT_ADDRESS
            and LOG_OUTPUT.render is encode_line
            and LOG_OUTPUT.writer is not None
            and "opentelemetry.trace" not in sys.modules
        ):
            ids, more = exchange.request_id, ""
            if some is not None:
                if some.trace is not None:
                    ids = (
                        f'{ids}","trace_id":"{some.trace.trace_id}","span_id":"{some.trace.span_id}'
                    )
                if some.db_queries:
                    more = (
                        f',"db_queries":{some.db_queries}'
                        f',"db_ms":{int(some.db_seconds * 1e6) / 1000}'
                    )
            LOG_OUTPUT.writer.write_access(
                (
                    time.time(),
                    ids,
                    method,
                    path,
                    endpoint,
                    status,
                    duration_seconds,
                    response_bytes,
                    remote_addr,
                    more,
                    level,
                )
            )
            return
        LOG_OUTPUT.emit(
            level,
            self._line(
                exchange,
                level,
                method,
                path,
                endpoint,
                status,
                duration_seconds,
                response_bytes,
                remote_addr,
            ),
        )

    def _line(
        self,
        exchange: RequestScope,
        level: str,
        method: str,
        path: str,
        endpoint: str,
        status: int,
        duration_seconds: float,
        response_bytes: int,
        remote_addr: str,
    ) -> dict[str, Any]:
        """Return the line with all that may be in one; in the order of the short way."""
        line: dict[str, Any] = {
            "timestamp": rfc3339_now(),
            "level": level,
            "logger": ACCESS_LOGGER,
            "event": "http_request",
            **exchange.fields,
            "method": method,
            "path": redacted_path(path),
            "endpoint": endpoint,
            "status": status,
            "duration_ms": int(duration_seconds * 1e6) / 1000,
            "bytes": response_bytes,
            "remote_addr": remote_addr,
        }
        some = exchange.ensure_extras()
        if some.db_queries:
            line["db_queries"] = some.db_queries
            line["db_ms"] = int(some.db_seconds * 1e6) / 1000
        if some.exception is not None:
            line["exception_type"] = type(some.exception).__name__
        if some.aborted:
            line["aborted"] = some.aborted
        if self._sample < 1.0 and status < 400:
            line["sample"] = self._sample
        if "opentelemetry.trace" in sys.modules and (span := active_span()):
            line.update(trace_id=span.trace_id, span_id=span.span_id)
        if some.fields is not None:
            for key, value in some.fields.items():
                line.setdefault(f"{key}_" if key in RESERVED else key, value)
        return line

    def observe(
        self,
        method: str,
        path: str,
        endpoint: str,
        status: int,
        duration_seconds: float,
        response_bytes: int,
        remote_addr: str,
        request_id: str | None,
        traceparent: str | None,
        reason: str = "",
    ) -> str | None:
        """Write the line of a request answered outside of the application; return its trace id."""
        exchange = RequestScope()
        # It stands in the line as it is: nothing but an id may pass.
        sound = request_id is not None and is_request_id(request_id)
        exchange.request_id = request_id if request_id is not None and sound else new_id()
        trace = parse_trace_context(traceparent) if traceparent else None
        if trace is not None:
            exchange.ensure_extras().trace = trace
        if reason:
            exchange.ensure_extras().fields = {"reason": reason}
        self.write(
            exchange,
            method,
            path,
            endpoint,
            status,
            duration_seconds,
            response_bytes,
            remote_addr,
        )
        return trace.trace_id if trace else None
