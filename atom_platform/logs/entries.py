"""
What waits in the queue of a writer: mostly bare bytes, which the garbage collector leaves alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["Entry", "entry_of", "joined", "line_of", "without_odd_ends"]

#: A line, with its level when that is not INFO.
Entry = bytes | tuple[bytes, str]

#: What Unicode ends a line with beside the newline, in UTF-8 and as JSON escapes it.
_ODD_ENDS: Final = (
    (b"\xe2\x80\xa8", rb"\u2028"),
    (b"\xe2\x80\xa9", rb"\u2029"),
    (b"\xc2\x85", rb"\u0085"),
)


def entry_of(line: bytes, level: str) -> Entry:
    """Return *line* with what has to be known of its *level*."""
    return line if level == "INFO" else (line, level)


def line_of(entry: Entry) -> bytes:
    """Return the line of *entry*."""
    return entry if isinstance(entry, bytes) else entry[0]


def joined(entries: Sequence[Entry]) -> tuple[bytes, Mapping[str, int]]:
    """Return the lines of *entries* in one, and how many there are of each level."""
    try:
        return b"".join(entries), {"INFO": len(entries)}  # type: ignore[arg-type]  # mostly so
    except TypeError:
        levels = Counter(entry[1] if isinstance(entry, tuple) else "INFO" for entry in entries)
        return b"".join(map(line_of, entries)), levels


def without_odd_ends(lines: bytes) -> bytes:
    """
    Return *lines* of JSON with those ends escaped, which a client may put into a path.

    JSON allows them in strings, but many a reader splits lines at them (`str.splitlines`).
    """
    for end, escape in _ODD_ENDS:
        if end in lines:
            lines = lines.replace(end, escape)
    return lines
