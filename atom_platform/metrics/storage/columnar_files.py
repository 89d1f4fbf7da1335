"""
Writing and reading columnar files.

As in `value_files.py`, space is allocated before it is mapped, and the old map of a growing file
stays, so the cells that were returned earlier remain valid.
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

#: The position of the text length in the head of a segment, in units of eight bytes.
_USED: Final = 2


class ColumnarFile(WritableFile):
    """
    A columnar file that this process, which holds its slot, writes.

    Args:
        path: Created if missing.
        kind: The kind of its metrics, such as `counter`.

    Raises:
        CorruptFileError: The file violates its format.
        OSError: The disk is full, or permission is missing.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self._kind = kind
        #: The position of each number, by series key and sample id.
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
            # A scrape would skip an invalid file: parse_lines raises, and it is set aside.
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
        Return the cell of *key*, created with value 0 if there is none.

        Raises:
            OSError: The disk is full.
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
        # Published last, in one store: a reader must not see a length without its text.
        self._used += len(text)
        self._words[self._start // 8 + _USED] = self._used
        return self._doubles, self._add_cell(series_key, help_text, sample_id)

    def all_keys(self) -> list[bytes]:
        """Return the key of each number."""
        return [key for key, _ in self._keys_with_positions()]

    def values(self) -> list[tuple[bytes, float, float]]:
        """Return key, value and 0.0 of each number, or nothing if the file was truncated."""
        if not self.is_whole():
            return []
        return [
            (key, self._doubles[position], 0.0) for key, position in self._keys_with_positions()
        ]

    def _keys_with_positions(self) -> list[tuple[bytes, int]]:
        """Return the prometheus_client key and the position of each number."""
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
        """Append to the segment from *start* to *end* from now on."""
        self._start, self._end, self._cells = start, end, 0
        self._used = self._words[start // 8 + _USED]
        self._series_key = b""

    def _missing_bytes(self, text: int) -> int:
        room = self._end - self._start - TEXT_AT - self._used - 8 * self._cells
        return text + 8 - room

    def _grow(self, text: int) -> None:
        """Append a segment with space for at least a line of *text* bytes."""
        step = max(step_bytes(self._end), TEXT_AT + text + 8)
        # Reuse space that a killed earlier holder of the slot had allocated.
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
    """Reads one columnar file again and again."""

    def __init__(self, path: Path, name: FileName) -> None:
        super().__init__(path, name)
        self.segments = find_segments(self._map)

    def find_new_segments(self) -> None:
        """
        Append the segments that were added since the last call to `segments`.

        Raises:
            OSError: The file has grown and cannot be opened again.
            CorruptFileError: The file violates its format.
        """
        size = self.size()
        known = self.segments[-1][1] if self.segments else 0
        if size > len(self._map):
            try:
                self._remap(size)
            except FileNotFoundError:
                return  # deleted: the segments known so far are all that is left
        if known < len(self._map):
            self.segments += find_segments(self._map, known)

    def text(self, segment: tuple[int, int], start: int = 0) -> bytes:
        """
        Return the text of *segment* from its offset *start* on.

        Raises:
            CorruptFileError: The text is longer than the segment.
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
        Return key, value and 0.0 of each number.

        Raises:
            CorruptFileError: The file was truncated.
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
