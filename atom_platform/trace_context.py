"""W3C trace context: read from a request if it is valid, and passed on to the next service."""

from __future__ import annotations

import random
import re
import sys
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["TraceContext", "active_span", "parse_trace_context"]

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE_KEY: Final = (
    r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
)
_STATE_MEMBER: Final = re.compile(
    rf"({_STATE_KEY})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)


@dataclass(frozen=True, slots=True)
class TraceContext:
    """
    The position of a request in a trace.

    Attributes:
        trace_id: 32 hexadecimal digits, the same in every service.
        span_id: 16 hexadecimal digits, the caller's.
        flags: Two hexadecimal digits; the last bit says whether the caller records the trace.
        state: The header `tracestate`; empty if it was missing or not valid.
    """

    trace_id: str
    span_id: str
    flags: str = "00"
    state: str = ""

    def outgoing_headers(self) -> dict[str, str]:
        """Return the headers for a call of another service: the same trace, a new span id."""
        span_id = f"{random.getrandbits(64) or 1:016x}"
        # Only the flags that version 00 defines are passed on.
        headers = {"traceparent": f"00-{self.trace_id}-{span_id}-{int(self.flags, 16) & 3:02x}"}
        if self.state:
            headers["tracestate"] = self.state
        return headers


def parse_trace_context(traceparent: str, tracestate: str = "") -> TraceContext | None:
    """
    Return the trace context of the two headers; None if *traceparent* is not valid.

    An invalid *tracestate* is ignored. A version later than 00 is accepted if it starts like 00.
    """
    found = _TRACEPARENT.fullmatch(traceparent.strip(" \t"))
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest is not None):
        return None
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return TraceContext(trace_id, span_id, flags, _valid_state(tracestate) if tracestate else "")


def _valid_state(tracestate: str) -> str:
    members = [member.strip(" \t") for member in tracestate.split(",")]
    found = [_STATE_MEMBER.fullmatch(member) for member in members if member]
    keys = {match.group(1) for match in found if match is not None}
    # A repeated key, an invalid member or more than 32 members make the whole header invalid.
    if not 0 < len(keys) == len(found) <= 32:
        return ""
    return ",".join(member for member in members if member)


def active_span() -> TraceContext | None:
    """Return the ids of OpenTelemetry's active span; None without one, or without OpenTelemetry."""
    opentelemetry: Any = sys.modules.get("opentelemetry.trace")
    if opentelemetry is None:
        return None
    try:
        context = opentelemetry.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        state = context.trace_state.to_header() if context.trace_state else ""
        return TraceContext(
            f"{context.trace_id:032x}",
            f"{context.span_id:016x}",
            f"{int(context.trace_flags):02x}",
            state,
        )
    except Exception:  # a partly imported or unknown module must not cost a log line
        return None
