"""The record of one answered request: the one value that metrics and access log are given of it."""

from __future__ import annotations

from typing import Final, NamedTuple

from atom_platform.trace_context import TraceContext

__all__ = ["UNMATCHED", "RequestRecord"]

#: The endpoint of a request that matched no URL rule.
UNMATCHED: Final = "unmatched"


class RequestRecord(NamedTuple):
    """
    One request that has been answered. It is made once and never changed.

    A tuple, because a frozen dataclass of ten fields takes a request 1.5 µs more to make.

    Attributes:
        method: As the client sent it; what counts it makes `OTHER` of unknown ones.
        path: As the client sent it, without the query. Only the access line shows it.
        endpoint: The matched URL rule, or `UNMATCHED`; never what the client sent.
        status: The HTTP status code that the client got.
        seconds: From the server's call to the end of the body.
        body_bytes: The length of the body as sent; 0 for HEAD.
        remote_addr: The client's address, empty if the server does not tell.
        request_id: The client's or ours; None if the request has none yet.
        trace: The caller's W3C trace context.
        reason: Why the server refused a request that it could not read; otherwise empty.
    """

    method: str
    path: str
    endpoint: str
    status: int
    seconds: float
    body_bytes: int
    remote_addr: str
    request_id: str | None = None
    trace: TraceContext | None = None
    reason: str = ""

    @property
    def trace_id(self) -> str | None:
        """32 hexadecimal digits, or None without a trace."""
        return None if self.trace is None else self.trace.trace_id
