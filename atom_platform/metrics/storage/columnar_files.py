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
    find_segments,
    full_key,
    json_text,
    parse_lines,
    split_key,
)
from atom_platform.metrics.storage.value_files import INITIAL_BYTES, Cell, WritableFile, step_bytes

__all__ = ["ColumnarFile", "ColumnarReader"]

#: Where the head of a segment has its length of text, in positions of eight bytes.
_USED: Final = 2


class ColumnarFile(WritableFile):
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
        #: SlotFiles of each number, by series_key and sample_id.
        self.entries: dict[bytes, dict[bytes, int]] = {}
        self._helps: dict[bytes, bytes] = {}
        super().__init__(path, HEAD.pack(MAGIC, INITIAL_BYTES, 0))

    def _open(self) -> None:
        size = os.fstat(self._fd).st_size
        if size < mmap.PAGESIZE:
            raise CorruptFileError(f"{size} bytes")
        os.posix_fallocate(self._fd, 0, size)
        self._map()
        for start, end in find_segments(self._maps[-1]):
            self._select_segment(start, end)
            # What the scrape would refuse, nobody should count into.
            for series_key, help_text, sample_ids in parse_lines(self._maps[-1], (start, end)):
                self._helps.setdefault(series_key, json_text(help_text))
                known = self.entries.setdefault(series_key, {})
                self._series_key = series_key
                for sample_id in sample_ids:
                    self._cells += 1
                    known.setdefault(sample_id, end // 8 - self._cells)

    def find(self, key: bytes) -> Cell | None:
        """Return the cell of *key*, or None if there is none yet."""
        series_key, _, sample_id = split_key(self._kind, key)
        position = self.entries.get(series_key, {}).get(sample_id)
        return None if position is None else (self._doubles, position)

    def add(self, key: bytes) -> Cell:
        """
        Return the cell of *key*, made with value 0 if there is none.

        Raises:
            OSError: There is no room.
        """
        found = self.find(key)
        if found is not None:
            return found
        series_key, help_text, sample_id = split_key(self._kind, key)
        whole = b"\n%b\t%b\t%b" % (series_key, help_text, sample_id)
        text = b"\t" + sample_id if series_key == self._series_key else whole
        if self._missing_bytes(len(text)) > 0:
            self._grow(len(whole))
            text = whole
        at = self._start + TEXT_AT + self._used
        self._maps[-1][at : at + len(text)] = text
        # Published last, in one store: a reader never sees a length without its text.
        self._used += len(text)
        self._words[self._start // 8 + _USED] = self._used
        return self._doubles, self._add_cell(series_key, help_text, sample_id)

    def all_keys(self) -> list[bytes]:
        """Return the key of each number."""
        return [key for key, _ in self._keys_with_positions()]

    def values(self) -> list[tuple[bytes, float, float]]:
        """Return key, value and 0 of each number, or nothing if the file was cut."""
        if not self.is_whole():
            return []
        return [
            (key, self._doubles[position], 0.0) for key, position in self._keys_with_positions()
        ]

    def _keys_with_positions(self) -> list[tuple[bytes, int]]:
        return [
            (full_key((series_key, json.loads(self._helps[series_key]), []), sample_id), position)
            for series_key, positions in self.entries.items()
            for sample_id, position in positions.items()
        ]

    def _add_cell(self, series_key: bytes, help_text: bytes, sample_id: bytes) -> int:
        self._cells += 1
        self._series_key = series_key
        self._helps.setdefault(series_key, help_text)
        position: int = self._end // 8 - self._cells
        return self.entries.setdefault(series_key, {}).setdefault(sample_id, position)

    def _select_segment(self, start: int, end: int) -> None:
        """Have what is added go to this segment, behind what it has."""
        self._start, self._end, self._cells = start, end, 0
        self._used = self._words[start // 8 + _USED]
        self._series_key = b""

    def _missing_bytes(self, text: int) -> int:
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
        self._select_segment(start, self._size)

    def _map(self) -> None:
        self._size = os.fstat(self._fd).st_size // 8 * 8
        mapped = mmap.mmap(self._fd, self._size)
        self._maps.append(mapped)
        self._doubles = memoryview(mapped).cast("d")
        self._words = memoryview(mapped).cast("Q")


class ColumnarReader(ReadableFile):
    """One tally."""

    def __init__(self, path: Path, name: FileName) -> None:
        super().__init__(path, name)
        self.segments = find_segments(self._map)

    def find_new_segments(self) -> None:
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
            self.segments += find_segments(self._map, known)

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
            position = segment[1] // 8
            for line in parse_lines(self._map, segment):
                for sample_id in line[2]:
                    position -= 1
                    found.append((full_key(line, sample_id), self.cells[position], 0.0))
        return found
