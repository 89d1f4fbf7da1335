"""
What waits in the queue of a writer: nothing but text and numbers, which the garbage collector
leaves alone.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Final, cast

from atom_platform.logs.access_line import AccessEntry, access_line

__all__ = ["BATCH_BYTES", "Entry", "batch_of", "entry_of", "joined"]

#: What one lock of the output carries at most: long enough to be cheap, short enough to be fair.
BATCH_BYTES: Final = 256 * 1024

#: A line; a line with its level, when that is not INFO; or what an access line is to be made of.
Entry = bytes | tuple[bytes, str] | AccessEntry


def entry_of(line: bytes, level: str) -> Entry:
    """Return *line* with what has to be known of its *level*."""
    return line if level == "INFO" else (line, level)


def _line_of(entry: Entry) -> bytes:
    """Return the line of *entry*."""
    if isinstance(entry, bytes):
        return entry
    return access_line(entry) if isinstance(entry, AccessEntry) else entry[0]


def batch_of(queue: deque[Entry], short_bytes: int, long_bytes: int) -> tuple[list[Entry], int]:
    """
    Take the next batch from *queue*, and return it with the bytes of the long lines in it.

    Args:
        short_bytes: A longer line is a long one.
        long_bytes: Of the long lines in the queue.
    """
    if not long_bytes:
        most = min(len(queue), max(1, BATCH_BYTES // (short_bytes + 1)))
        return [queue.popleft() for _ in range(most)], 0
    size, taken, long_taken = 0, list[Entry](), 0
    while queue and (not taken or size + _length_of(queue[0]) <= BATCH_BYTES):
        taken.append(queue.popleft())
        size += (length := _length_of(taken[-1]))
        long_taken += length if length > short_bytes else 0
    return taken, long_taken


def _length_of(entry: Entry) -> int:
    """Return how long the line of *entry* is, 0 for one that is not made yet: it is short."""
    if isinstance(entry, bytes):
        return len(entry)
    return 0 if isinstance(entry, AccessEntry) else len(entry[0])


def joined(entries: Sequence[Entry]) -> tuple[bytes, Mapping[str, int]]:
    """Return the lines of *entries* in one, and how many there are of each level."""
    levels = Counter(["INFO" if type(entry) is bytes else entry[-1] for entry in entries])
    lines = [entry if type(entry) is bytes else _line_of(entry) for entry in entries]
    return b"".join(lines), cast(Mapping[str, int], levels)
