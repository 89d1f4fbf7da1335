"""
Timestamps of responses and log lines: RFC 3339, UTC, milliseconds, `Z`.

The text of a second is kept until the next second: formatting a date costs as much as encoding a
whole log line.
"""

from __future__ import annotations

import time
from typing import Final

__all__ = ["rfc3339", "rfc3339_now"]

_MILLISECONDS: Final = tuple(f"{number:03d}Z" for number in range(1000))

# The start of the last second, in milliseconds, and its text. Replaced as one tuple: a thread that
# reads it during a replacement gets one pair or the other.
_last: tuple[int, str] = (-1000, "")


def rfc3339(unix_seconds: float) -> str:
    """Return *unix_seconds*, seconds since the Unix epoch, as `2026-02-16T19:15:00.000Z`."""
    return _format(int(unix_seconds * 1000))


def rfc3339_now() -> str:
    """Return the current time as `2026-02-16T19:15:00.000Z`."""
    return _format(time.time_ns() // 1_000_000)


def _format(unix_milliseconds: int) -> str:
    global _last
    start, text = _last
    offset = unix_milliseconds - start
    if not 0 <= offset < 1000:
        second, offset = divmod(unix_milliseconds, 1000)
        text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        _last = (second * 1000, text)
    return text + _MILLISECONDS[offset]
