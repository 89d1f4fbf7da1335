"""Time as the guide writes it: RFC 3339, UTC, milliseconds, `Z`."""

from __future__ import annotations

import time

__all__ = ["rfc3339", "rfc3339_now"]

_second: tuple[int, str] = (-1, "")
"""The last second that was formatted, with its text. Replaced as a whole: threads may share it."""


def rfc3339(unix_seconds: float) -> str:
    """Return *unix_seconds* as `2026-02-16T19:15:00.000Z`."""
    return _format(int(unix_seconds * 1000))


def rfc3339_now() -> str:
    """Return the time of the call; within one second only the milliseconds are formatted anew."""
    return _format(time.time_ns() // 1_000_000)


def _format(unix_milliseconds: int) -> str:
    global _second
    second, milliseconds = divmod(unix_milliseconds, 1000)
    known, text = _second
    if second != known:
        text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        _second = (second, text)
    return f"{text}{milliseconds:03d}Z"
