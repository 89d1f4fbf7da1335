"""
What the first bytes of a request say about where it belongs.

gunicorn's parser stays the judge of what is valid. Here only two questions are answered: is there
enough to hand it to a thread that then need not wait, and is it a probe. Whatever looks unusual is
an ordinary request.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from atom_platform.ids import is_request_id
from atom_platform.trace_context import TraceContext, parse_trace_context

__all__ = ["Kind", "LaneRequest", "Verdict", "judge", "known_lane_request", "lane_request"]

#: A head is gathered in memory until it ends; a longer one is refused.
MOST_HEAD_BYTES: Final = 65_536
#: So is a body up to this; of a longer one a thread reads the rest, as long as pieces keep coming.
MOST_BODY_BYTES: Final = 65_536

LIVE: Final = "/health/live"
METRICS: Final = "/health/metrics"
HEALTH: Final = (b"GET /health/", b"HEAD /health/")
LIVENESS: Final = re.compile(rb"(?:GET|HEAD) /health/live/?[ ?]")

#: Announce a body, or a conversation before it: no health lane waits for either.
BODY_HEADERS: Final = (b"\r\ncontent-length:", b"\r\ntransfer-encoding:", b"\r\nexpect:")

LANE_HEAD: Final = re.compile(
    rb"(GET|HEAD) (/health/(?:live|ready|metrics)) HTTP/(1\.[01])\r\n"
    rb"((?:[A-Za-z-]+:[\t -~]*\r\n)+)\r\n"
)
HOST: Final = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?|\[[0-9a-fA-F:.]+\](:[0-9]+)?")

#: Headers that cannot change the answer to a probe, or whose effect is reproduced. Any other one
#: sends the request to the application.
HARMLESS: Final = frozenset(
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


class Kind(enum.Enum):
    """Where a request goes once enough of it is there."""

    HALF_HEAD = enum.auto()
    ENDLESS_HEAD = enum.auto()
    HALF_BODY = enum.auto()
    LIVENESS = enum.auto()
    HEALTH = enum.auto()
    ORDINARY = enum.auto()


class Verdict(NamedTuple):
    """
    A kind, and a length.

    Attributes:
        length: Of half a body's whole request, so that nobody looks again before that much is
            there; of any other request's head, 0 while that is not complete.
    """

    kind: Kind
    length: int


@dataclass(frozen=True, slots=True)
class LaneRequest:
    """
    A probe, or a scrape, that does not need the application.

    Attributes:
        version: Of HTTP, `1.0` or `1.1`.
        request_id: The client's, when it is one that we take.
        trace: The client's, when it sent a valid one.
        accept: The header of that name, as `accept_encoding`, for who has a choice of formats.
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


HALF_HEAD: Final = Verdict(Kind.HALF_HEAD, 0)
ENDLESS_HEAD: Final = Verdict(Kind.ENDLESS_HEAD, 0)
UNREADABLE: Final = Verdict(Kind.ORDINARY, 0)


def judge(data: bytes | bytearray, *, scanned: int = 0) -> Verdict:
    """
    Say where the request that *data* begins with belongs.

    Args:
        scanned: How many bytes an earlier call has seen without finding the head's end; a client
            that sends byte by byte must not cost a look at all of it each time.
    """
    end = data.find(b"\r\n\r\n", max(0, scanned - 3))
    if end < 0:
        if len(data) > MOST_HEAD_BYTES:
            return ENDLESS_HEAD
        # The parser refuses a bare newline at once; waiting for its end would take for ever.
        return UNREADABLE if _has_bare_newline(data, scanned) else HALF_HEAD
    end += 4
    head = data[:end].lower()
    if not any(name in head for name in BODY_HEADERS):
        if not data.startswith(HEALTH):
            return Verdict(Kind.ORDINARY, end)
        return Verdict(Kind.LIVENESS if LIVENESS.match(data) else Kind.HEALTH, end)
    body = _announced_body_bytes(head)
    if body <= MOST_BODY_BYTES and len(data) < end + body:
        return Verdict(Kind.HALF_BODY, end + body)
    return Verdict(Kind.ORDINARY, end)


def _has_bare_newline(data: bytes | bytearray, scanned: int) -> bool:
    """Return whether a line of the head ends without CR."""
    if data.find(b"\n", scanned) < 0:
        return False
    tail = data[max(0, scanned - 1) :]
    crossing = scanned > 0 and tail.startswith(b"\n")  # judged with the bytes before it
    return tail.count(b"\n") - crossing != tail.count(b"\r\n")


def _announced_body_bytes(head: bytes | bytearray) -> int:
    """Return the length of the body that may be waited for; 0 when a thread has to see to it."""
    name = b"\r\ncontent-length:"
    if b"\r\ntransfer-encoding:" in head or b"\r\nexpect:" in head or head.count(name) != 1:
        return 0
    start = head.index(name) + len(name)
    digits = bytes(head[start : head.index(b"\r\n", start)]).strip(b" \t")
    return int(digits) if digits.isdigit() and len(digits) <= 9 else 0


_known: dict[bytes, LaneRequest] = {}
"""Heads seen before. Probes send the same bytes each time; an identifier is never kept."""


def known_lane_request(data: bytes) -> LaneRequest | None:
    """Return the probe that *data* is, if the same bytes have come before."""
    return _known.get(data)


def lane_request(head: bytes) -> LaneRequest | None:
    """Return the probe or scrape that *head* is, to the last byte, or None."""
    known = _known.get(head)
    if known is not None:
        return known
    found = _parse(head)
    if found and found.request_id is None and found.trace is None:
        if len(_known) >= 64:
            _known.clear()
        _known[head] = found
    return found


def _parse(head: bytes) -> LaneRequest | None:
    match = LANE_HEAD.fullmatch(head) if len(head) <= 4096 else None
    if match is None:
        return None
    headers: dict[str, str] = {}
    for line in match[4].decode("ascii").splitlines():
        name, _, value = line.partition(":")
        name = name.lower()
        if name not in HARMLESS or name in headers:
            return None
        headers[name] = value.strip(" \t")
    connection = headers.get("connection", "").lower()
    if not HOST.fullmatch(headers.get("host", "")) or connection not in ("", "close", "keep-alive"):
        return None
    version = match[3].decode("ascii")
    request_id = headers.get("x-request-id", "")
    return LaneRequest(
        method=match[1].decode("ascii"),
        path=match[2].decode("ascii"),
        version=version,
        keep_alive=connection == "keep-alive" or (not connection and version == "1.1"),
        request_id=request_id if is_request_id(request_id) else None,
        trace=parse_trace_context(headers.get("traceparent", "")),
        accept=headers.get("accept", ""),
        accept_encoding=headers.get("accept-encoding", ""),
    )
