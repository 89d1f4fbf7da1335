"""
What the first bytes of a request say about who answers it.

gunicorn's parser alone decides what is valid. Here only two questions are answered: is the request
complete enough for a thread that then need not wait, and is it a probe. Whatever looks unusual is
an ordinary request.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from atom_platform.ids import is_request_id
from atom_platform.trace_context import TraceContext, parse_trace_context

__all__ = ["Classification", "ProbeRequest", "RequestKind", "classify", "probe_request"]

#: A head is collected in memory until it ends; a longer one is refused.
MAX_HEAD_BYTES: Final = 65_536
#: So is a body of at most so many bytes; of a longer one a thread reads the rest.
MAX_BODY_BYTES: Final = 65_536

LIVE: Final = "/health/live"
METRICS: Final = "/health/metrics"
HEALTH: Final = (b"GET /health/", b"HEAD /health/")
LIVENESS: Final = re.compile(rb"(?:GET|HEAD) /health/live/?[ ?]")

#: Headers that announce a body, or an exchange before it: no probe has either.
BODY_HEADERS: Final = (b"\r\ncontent-length:", b"\r\ntransfer-encoding:", b"\r\nexpect:")

PROBE_HEAD: Final = re.compile(
    rb"(GET|HEAD) (/health/(?:live|ready|metrics)) HTTP/(1\.[01])\r\n"
    rb"((?:[A-Za-z-]+:[\t -~]*\r\n)+)\r\n"
)
HOST: Final = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?|\[[0-9a-fA-F:.]+\](:[0-9]+)?")

#: Headers that cannot change the answer to a probe, or whose effect is reproduced. Any other one
#: sends the request to the application.
IGNORED_HEADERS: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "host",
        "pragma",
        "traceparent",
        "tracestate",
        "user-agent",
        "x-prometheus-scrape-timeout-seconds",
        "x-request-id",
    }
)


class RequestKind(enum.Enum):
    """Who answers a request, or what of it is missing."""

    INCOMPLETE_HEAD = enum.auto()
    OVERLONG_HEAD = enum.auto()
    INCOMPLETE_BODY = enum.auto()
    LIVENESS = enum.auto()
    HEALTH = enum.auto()
    ORDINARY = enum.auto()


class Classification(NamedTuple):
    """
    A kind of request, and a length.

    Attributes:
        length: Bytes of the whole request when its body is incomplete, which is not looked at
            again before; otherwise bytes of the head, 0 while the head is incomplete.
    """

    kind: RequestKind
    length: int


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """
    A probe, or a scrape, that does not need the application.

    Attributes:
        version: The version of HTTP, `1.0` or `1.1`.
        request_id: The client's, when it is a valid one.
        trace: The client's trace context, when it sent a valid one.
        accept: The header of that name, as is `accept_encoding`; a scrape has a choice of formats.
    """

    method: str
    path: str
    version: str
    keep_alive: bool
    request_id: str | None
    trace: TraceContext | None
    accept: str = ""
    accept_encoding: str = ""

    @property
    def is_liveness(self) -> bool:
        return self.path == LIVE

    @property
    def is_scrape(self) -> bool:
        return self.path == METRICS


INCOMPLETE_HEAD: Final = Classification(RequestKind.INCOMPLETE_HEAD, 0)
OVERLONG_HEAD: Final = Classification(RequestKind.OVERLONG_HEAD, 0)
UNREADABLE: Final = Classification(RequestKind.ORDINARY, 0)


def classify(data: bytes | bytearray, *, scanned: int = 0) -> Classification:
    """
    Return who answers the request at the beginning of *data*.

    Args:
        scanned: How many bytes an earlier call has searched without finding the head's end.
            Without it, a client that sends byte by byte would cost quadratic time.
    """
    if isinstance(data, bytes) and (known := _known.get(data)) is not None:
        return known[1]
    end = data.find(b"\r\n\r\n", max(0, scanned - 3))
    if end < 0:
        if len(data) > MAX_HEAD_BYTES:
            return OVERLONG_HEAD
        # The parser refuses a bare newline at once; a wait for its end would never end.
        return UNREADABLE if _has_bare_newline(data, scanned) else INCOMPLETE_HEAD
    end += 4
    head = data[:end].lower()
    if not any(name in head for name in BODY_HEADERS):
        if not data.startswith(HEALTH):
            return Classification(RequestKind.ORDINARY, end)
        return Classification(
            RequestKind.LIVENESS if LIVENESS.match(data) else RequestKind.HEALTH, end
        )
    body = _announced_body_bytes(head)
    if body <= MAX_BODY_BYTES and len(data) < end + body:
        return Classification(RequestKind.INCOMPLETE_BODY, end + body)
    return Classification(RequestKind.ORDINARY, end)


def _has_bare_newline(data: bytes | bytearray, scanned: int) -> bool:
    """Return whether a line of the head ends without CR."""
    if data.find(b"\n", scanned) < 0:
        return False
    tail = data[max(0, scanned - 1) :]
    crossing = scanned > 0 and tail.startswith(b"\n")  # seen with the bytes before it
    return tail.count(b"\n") - crossing != tail.count(b"\r\n")


def _announced_body_bytes(head: bytes | bytearray) -> int:
    """Return the bytes of body to wait for; 0 when a thread has to read it."""
    name = b"\r\ncontent-length:"
    if b"\r\ntransfer-encoding:" in head or b"\r\nexpect:" in head or head.count(name) != 1:
        return 0
    start = head.index(name) + len(name)
    digits = bytes(head[start : head.index(b"\r\n", start)]).strip(b" \t")
    return int(digits) if digits.isdigit() and len(digits) <= 9 else 0


_known: dict[bytes, tuple[ProbeRequest, Classification]] = {}
"""Heads seen before, with what `classify` says of them. A head with an identifier is never kept."""


def probe_request(head: bytes) -> ProbeRequest | None:
    """Return the probe or scrape that *head* is, or None when it is or may be something else."""
    known = _known.get(head)
    if known is not None:
        return known[0]
    found = _parse(head)
    if found and found.request_id is None and found.trace is None:
        if len(_known) >= 64:
            _known.clear()
        _known[head] = found, classify(head)
    return found


def _parse(head: bytes) -> ProbeRequest | None:
    match = PROBE_HEAD.fullmatch(head) if len(head) <= 4096 else None
    if match is None:
        return None
    headers: dict[str, str] = {}
    for line in match[4].decode("ascii").splitlines():
        name, _, value = line.partition(":")
        name = name.lower()
        if name not in IGNORED_HEADERS or name in headers:
            return None
        headers[name] = value.strip(" \t")
    connection = headers.get("connection", "").lower()
    if not HOST.fullmatch(headers.get("host", "")) or connection not in ("", "close", "keep-alive"):
        return None
    version = match[3].decode("ascii")
    request_id = headers.get("x-request-id", "")
    return ProbeRequest(
        method=match[1].decode("ascii"),
        path=match[2].decode("ascii"),
        version=version,
        keep_alive=connection == "keep-alive" or (not connection and version == "1.1"),
        request_id=request_id if is_request_id(request_id) else None,
        trace=parse_trace_context(headers.get("traceparent", "")),
        accept=headers.get("accept", ""),
        accept_encoding=headers.get("accept-encoding", ""),
    )
