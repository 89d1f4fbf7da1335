"""
What the log knows about a request: its ids when it begins, one line when it ends.

The line is written for every request, so it takes a short way: no processors, no record.
"""

from __future__ import annotations

import logging
import random
import re
import sys
import time
from typing import Any, Final

from atom_platform.logs.context import Exchange
from atom_platform.logs.encode import encode_line
from atom_platform.logs.ids import new_id
from atom_platform.logs.json_texts import JSONTexts
from atom_platform.logs.output import OUTPUT, RESERVED
from atom_platform.logs.redact import redact_text
from atom_platform.logs.stamp import timestamp
from atom_platform.logs.trace import TraceContext, active_span, parse_trace_context

__all__ = ["ACCESS_LOGGER", "AccessLog"]

ACCESS_LOGGER: Final = "atom_platform.access"
#: A longer path is cut: it is a client's text.
MAX_PATH: Final = 1024

#: What stands between timestamp and request id.
_HEADS: Final = {
    level: f'","level":"{level}","logger":"{ACCESS_LOGGER}","event":"http_request","request_id":"'
    for level in ("DEBUG", "INFO", "WARNING")
}
_THOUSANDTHS: Final = tuple(f"{number:03d}" for number in range(1000))

_is_request_id = re.compile(r"[A-Za-z0-9._-]{1,128}").fullmatch
_log: Final = logging.getLogger(ACCESS_LOGGER)


class AccessLog:
    """
    Gives each request its ids, and writes its access line.

    Args:
        sample: Share of the successful requests that get a line; the others get one always.
    """

    def __init__(self, *, sample: float = 1.0) -> None:
        self._sample = sample
        self._paths = JSONTexts(_shown)
        self._texts = JSONTexts()

    def begin(self, exchange: Exchange, environ: dict[str, Any]) -> None:
        """
        Settle the request's ids: in *exchange*, in its lines, and in *environ* for latecomers.
        """
        claimed = environ.get("HTTP_X_REQUEST_ID")
        request_id = claimed if claimed is not None and _is_request_id(claimed) else new_id()
        environ["atom.request_id"] = exchange.request_id = request_id
        traceparent = environ.get("HTTP_TRACEPARENT")
        if traceparent:
            exchange.trace = parse_trace_context(traceparent, environ.get("HTTP_TRACESTATE", ""))
        exchange.fields = _ids(request_id, exchange.trace)

    def write(
        self,
        exchange: Exchange,
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
        plain = exchange.notes is None and exchange.exception is None and not exchange.aborted
        if (
            plain
            and number < 40
            and (sample >= 1.0 or status >= 400)
            and (
                OUTPUT.render is encode_line
                and OUTPUT.writer is not None
                and "opentelemetry.trace" not in sys.modules
            )
        ):
            # Nearly all lines: put together, which takes a third of what the long way does.
            ids, trace, texts = exchange.request_id, exchange.trace, self._texts
            if trace is not None:
                ids = f'{ids}","trace_id":"{trace.trace_id}","span_id":"{trace.span_id}'
            micros = int(duration_seconds * 1e6)
            queries = ""
            if exchange.db_queries:
                queries = (
                    f',"db_queries":{exchange.db_queries}'
                    f',"db_ms":{int(exchange.db_seconds * 1e6) / 1000}'
                )
            OUTPUT.writer.write(
                f'{{"timestamp":"{timestamp(time.time())}{_HEADS[level]}{ids}",'
                f'"method":{texts[method]},"path":{self._paths[path]},'
                f'"endpoint":{texts[endpoint]},"status":{status},'
                f'"duration_ms":{micros // 1000}.{_THOUSANDTHS[micros % 1000]},'
                f'"bytes":{response_bytes},"remote_addr":{texts[remote_addr]}{queries}}}\n'.encode(),
                level,
            )
            return
        OUTPUT.emit(
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
        exchange: Exchange,
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
            "timestamp": timestamp(time.time()),
            "level": level,
            "logger": ACCESS_LOGGER,
            "event": "http_request",
            **exchange.fields,
            "method": method,
            "path": _shown(path),
            "endpoint": endpoint,
            "status": status,
            "duration_ms": int(duration_seconds * 1e6) / 1000,
            "bytes": response_bytes,
            "remote_addr": remote_addr,
        }
        if exchange.db_queries:
            line["db_queries"] = exchange.db_queries
            line["db_ms"] = int(exchange.db_seconds * 1e6) / 1000
        if exchange.exception is not None:
            line["exception_type"] = type(exchange.exception).__name__
        if exchange.aborted:
            line["aborted"] = exchange.aborted
        if self._sample < 1.0 and status < 400:
            line["sample"] = self._sample
        if "opentelemetry.trace" in sys.modules and (span := active_span()):
            line.update(trace_id=span.trace_id, span_id=span.span_id)
        if exchange.notes is not None:
            for key, value in exchange.notes.items():
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
        exchange = Exchange()
        # It stands in the line as it is: nothing but an id may pass.
        sound = request_id is not None and _is_request_id(request_id)
        exchange.request_id = request_id if request_id is not None and sound else new_id()
        exchange.trace = parse_trace_context(traceparent) if traceparent else None
        exchange.fields = _ids(exchange.request_id, exchange.trace)
        if reason:
            exchange.notes = {"reason": reason}
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
        return exchange.trace.trace_id if exchange.trace else None


def _shown(path: str) -> str:
    """Return *path* as the client meant it, without secrets."""
    text = path
    if not text.isascii():  # WSGI hands bytes over as latin-1
        text = text.encode("latin-1", "replace").decode("utf-8", "replace")
    if len(text) > MAX_PATH:
        text = f"{text[:MAX_PATH]}…"
    return redact_text(text)


def _ids(request_id: str, trace: TraceContext | None) -> dict[str, str]:
    if trace is None:
        return {"request_id": request_id}
    return {"request_id": request_id, "trace_id": trace.trace_id, "span_id": trace.span_id}
