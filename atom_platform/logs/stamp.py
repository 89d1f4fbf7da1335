"""
The timestamp of the contract: RFC 3339, UTC, milliseconds, `Z`.

Formatting a date costs as much as encoding a whole line, so the part that changes once a second is
kept.
"""

from __future__ import annotations

import time
from typing import Final

__all__ = ["timestamp"]

_MILLISECONDS: Final = tuple(f"{number:03d}Z" for number in range(1000))

# Replaced as a whole: a thread that reads it while another replaces it sees one pair or the other.
_last: tuple[int, str] = (-1000, "")


def timestamp(seconds: float) -> str:
    """Return *seconds* since the Unix epoch as `2026-02-16T19:15:00.000Z`."""
    global _last
    milliseconds = int(seconds * 1000)
    begin, text = _last
    at = milliseconds - begin
    if not 0 <= at < 1000:
        second, at = divmod(milliseconds, 1000)
        text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        _last = (second * 1000, text)
    return text + _MILLISECONDS[at]
