"""
What waits in the queue of a writer: mostly bare bytes, which the garbage collector leaves alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

__all__ = ["Entry", "entry_of", "joined", "line_of"]

#: A line, with its level when that is not INFO.
Entry = bytes | tuple[bytes, str]


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
