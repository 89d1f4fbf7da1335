"""
The writing side of a tally.

As everywhere, room is allocated before it is mapped, and a growing file is mapped once more while
the old map stays: cells handed out before stay good.
"""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path
from typing import Final

from atom_platform.metrics.storage.client_format import CorruptFileError, FileName, ReadableFile
from atom_platform.metrics.storage.columnar_format import (
    HEAD,
    MAGIC,
    TEXT_AT,
    json_text,
    lines_of,
    segments,
    split_key,
    whole_key,
)
from atom_platform.metrics.storage.value_files import INITIAL_BYTES, Cell, WritableFile, step_bytes

__all__ = ["TallyFile", "TallyReader"]

#: Where the head of a segment has its length of text, in places of eight bytes.
_USED: Final = 2


class TallyFile(WritableFile):
    """
    One tally, opened for writing by the one process that holds its slot.

    Args:
        path: Created if missing.
        kind: What is counted in it, such as `counter`.

    Raises:
        CorruptFileError: The file holds something else.
        OSError: There is no room, or no right.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self._kind = kind
        #: Place of each number, by identity and role.
        self.entries: dict[bytes, dict[bytes, int]] = {}
        self._helps: dict[bytes, bytes] = {}
        super().__init__(path, HEAD.pack(MAGIC, INITIAL_BYTES, 0))

    def _open(self) -> None:
        size = os.fstat(self._fd).st_size
        if size < mmap.PAGESIZE:
            raise CorruptFileError(f"{size} bytes")
        os.posix_fallocate(self._fd, 0, size)
        self._map()
        for start, end in segments(self._maps[-1]):
            self._enter(start, end)
            # What the scrape would refuse, nobody should count into.
            for identity, help_text, roles in lines_of(self._maps[-1], (start, end)):
                self._helps.setdefault(identity, json_text(help_text))
                known = self.entries.setdefault(identity, {})
                self._identity = identity
                for role in roles:
                    self._cells += 1
                    known.setdefault(role, end // 8 - self._cells)

    def find(self, key: bytes) -> Cell | None:
        """Return the cell of *key*, or None if there is none yet."""
        identity, _, role = split_key(self._kind, key)
        place = self.entries.get(identity, {}).get(role)
        return None if place is None else (self._doubles, place)

    def add(self, key: bytes) -> Cell:
        """
        Return the cell of *key*, made with value 0 if there is none.

        Raises:
            OSError: There is no room.
        """
        found = self.find(key)
        if found is not None:
            return found
        identity, help_text, role = split_key(self._kind, key)
        whole = b"\n%b\t%b\t%b" % (identity, help_text, role)
        text = b"\t" + role if identity == self._identity else whole
        if self._missing(len(text)) > 0:
            self._grow(len(whole))
            text = whole
        at = self._start + TEXT_AT + self._used
        self._maps[-1][at : at + len(text)] = text
        # Published last, in one store: a reader never sees a length without its text.
        self._used += len(text)
        self._words[self._start // 8 + _USED] = self._used
        return self._doubles, self._learn(identity, help_text, role)

    def all_keys(self) -> list[bytes]:
        """Return the key of each number."""
        return [key for key, _ in self._places()]

    def values(self) -> list[tuple[bytes, float, float]]:
        """Return key, value and 0 of each number, or nothing if the file was cut."""
        if not self.is_whole():
            return []
        return [(key, self._doubles[place], 0.0) for key, place in self._places()]

    def _places(self) -> list[tuple[bytes, int]]:
        return [
            (whole_key((identity, json.loads(self._helps[identity]), []), role), place)
            for identity, places in self.entries.items()
            for role, place in places.items()
        ]

    def _learn(self, identity: bytes, help_text: bytes, role: bytes) -> int:
        self._cells += 1
        self._identity = identity
        self._helps.setdefault(identity, help_text)
        place: int = self._end // 8 - self._cells
        return self.entries.setdefault(identity, {}).setdefault(role, place)

    def _enter(self, start: int, end: int) -> None:
        """Have what is added go to this segment, behind what it has."""
        self._start, self._end, self._cells = start, end, 0
        self._used = self._words[start // 8 + _USED]
        self._identity = b""

    def _missing(self, text: int) -> int:
        room = self._end - self._start - TEXT_AT - self._used - 8 * self._cells
        return text + 8 - room

    def _grow(self, text: int) -> None:
        """Begin another segment, with room for a line of *text* bytes at least."""
        step = max(step_bytes(self._end), TEXT_AT + text + 8)
        # What a killed predecessor had allocated already is ours to use.
        size = max(self._size, self._end + step)
        size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        os.posix_fallocate(self._fd, 0, size)
        self._map()
        start = self._end
        self._maps[-1][start + 8 : start + TEXT_AT] = HEAD.pack(MAGIC, self._size - start, 0)[
            8:
        ].ljust(TEXT_AT - 8, b"\0")
        self._maps[-1][start : start + 8] = MAGIC
        self._enter(start, self._size)

    def _map(self) -> None:
        self._size = os.fstat(self._fd).st_size // 8 * 8
        mapped = mmap.mmap(self._fd, self._size)
        self._maps.append(mapped)
        self._doubles = memoryview(mapped).cast("d")
        self._words = memoryview(mapped).cast("Q")


class TallyReader(ReadableFile):
    """One tally."""

    def __init__(self, path: Path, name: FileName) -> None:
        super().__init__(path, name)
        self.segments = segments(self._map)

    def follow(self) -> None:
        """
        Find the segments that were added since.

        Raises:
            OSError: It has grown and cannot be opened again.
            CorruptFileError: The file is not, or no longer, what it should be.
        """
        size = self.size()
        known = self.segments[-1][1] if self.segments else 0
        if size > len(self._map):
            try:
                self._remap(size)
            except FileNotFoundError:
                return  # deleted: what it had until then is what is left of it
        if known < len(self._map):
            self.segments += segments(self._map, known)

    def text(self, segment: tuple[int, int], start: int = 0) -> bytes:
        """
        Return the text of *segment* from *start* on.

        Raises:
            CorruptFileError: It is longer than the segment.
        """
        at = segment[0] + TEXT_AT
        used = int.from_bytes(self._map[segment[0] + 16 : segment[0] + 24], "little")
        if not start <= used <= segment[1] - at:
            raise CorruptFileError(f"{used} bytes used")
        return self._map[at + start : at + used]

    def copy(self, start: int, end: int) -> bytes:
        """Return the bytes from *start* to *end*."""
        return self._map[start:end]

    def values(self) -> list[tuple[bytes, float, float]]:
        """
        Return key, value and 0 of each number.

        Raises:
            CorruptFileError: The file was cut.
        """
        self.size()
        found = []
        for segment in self.segments:
            place = segment[1] // 8
            for line in lines_of(self._map, segment):
                for role in line[2]:
                    place -= 1
                    found.append((whole_key(line, role), self.cells[place], 0.0))
        return found
