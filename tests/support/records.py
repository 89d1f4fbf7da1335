"""Request records for tests that need only some of the fields."""

from __future__ import annotations

from atom_platform.extension.request_record import RequestRecord
from atom_platform.metrics import http_metrics
from atom_platform.trace_context import TraceContext

__all__ = ["count_request", "record_of"]


def record_of(
    method: str = "GET",
    endpoint: str = "/a",
    status: int = 200,
    seconds: float = 0.01,
    *,
    path: str | None = None,
    body_bytes: int = 0,
    remote_addr: str = "::1",
    request_id: str | None = None,
    trace: TraceContext | None = None,
    reason: str = "",
) -> RequestRecord:
    """Return a record whose path is its endpoint unless *path* says otherwise."""
    return RequestRecord(
        method,
        endpoint if path is None else path,
        endpoint,
        status,
        seconds,
        body_bytes,
        remote_addr,
        request_id,
        trace,
        reason,
    )


def count_request(
    method: str,
    endpoint: str,
    status: int,
    seconds: float,
    *,
    trace_id: str | None = None,
    in_progress: float = 0.0,
) -> None:
    """Count such a request as the middleware does."""
    trace = None if trace_id is None else TraceContext(trace_id, "c" * 16)
    http_metrics.record_request(
        record_of(method, endpoint, status, seconds, trace=trace), in_progress
    )
