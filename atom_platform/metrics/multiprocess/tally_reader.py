"""
The reading side of a tally.

Its numbers are compared with the last ones block by block, and only those of blocks that differ
are looked at. Nothing read here is trusted: a file may be cut, garbage, or half written.
"""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Final

from atom_platform.metrics.multiprocess.format import CorruptFileError
from atom_platform.metrics.multiprocess.reader import FileName, MappedFile
from atom_platform.metrics.multiprocess.table import NUMBERS, SeriesTable
from atom_platform.metrics.multiprocess.tally import TEXT_AT, lines_of, segments, whole_key

__all__ = ["TallyReader", "TallyRow"]

#: Of the numbers that are compared at once. Smaller ones are more calls, larger ones more numbers.
_BLOCK_BYTES: Final = 1024
#: More than one changed block in so many: everything is looked at, unless it is few anyway.
_WHOLE_FROM: Final = 4
_FEW_BLOCKS: Final = 8


class TallyReader(MappedFile):
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


class _Segment:
    """What is known of one segment."""

    __slots__ = ("cells", "end", "last", "line_at", "line_cells", "segment", "text_end")

    def __init__(self, segment: tuple[int, int]) -> None:
        self.segment = segment
        self.end = segment[1]
        self.cells = self.line_at = self.line_cells = self.text_end = 0
        self.last = b""


class TallyRow:
    """
    The numbers of the tally that *reader* reads.

    Attributes:
        numbers: Which series each is of; the first, which is always 0, of none.
        values: As last read, in the same order.

    Raises:
        OSError: From its methods: the file cannot be opened again.
        CorruptFileError: Likewise, it is not what it should be.
    """

    def __init__(self, reader: TallyReader, table: SeriesTable) -> None:
        self.reader = reader
        self.table = table
        self._segments: list[_Segment] = []
        self.numbers = array(NUMBERS, [0])
        self.values = array("d", [0.0])

    def learn(self) -> None:
        """Number what was added to the file."""
        self.reader.follow()
        for segment in self.reader.segments[len(self._segments) :]:
            self._segments.append(_Segment(segment))
        for known in self._segments:
            text = self.reader.text(known.segment, known.line_at)
            if known.line_at + len(text) != known.text_end:
                self._read(known, text)

    def _read(self, known: _Segment, text: bytes) -> None:
        """Take in *text*, which begins with the line that was the last one so far."""
        begin, end = known.segment
        empty, *lines = text.split(b"\n")
        # A line has one tab more than roles; checked before the table learns any of it.
        cells = known.cells - known.line_cells + text.count(b"\t") - len(lines)
        text_end = known.line_at + len(text)
        if empty or TEXT_AT + text_end + 8 * cells > end - begin:
            raise CorruptFileError(f"{cells} numbers in {end - begin} bytes")
        numbers = self.table.of_lines(self.reader.name.kind, lines)
        size = self.numbers.itemsize
        self.numbers.frombytes(b"".join(numbers)[size * known.line_cells :])
        self.values.frombytes(bytes(8 * (len(self.numbers) - len(self.values))))
        known.cells, known.text_end = cells, text_end
        known.line_at = text_end - len(lines[-1]) - 1
        known.line_cells = len(numbers[-1]) // size

    def refresh(self) -> list[int] | None:
        """Read the values anew, and return where one changed; None: nearly everywhere."""
        changed: list[int] | None = []
        at = 1 + sum(known.cells for known in self._segments)
        # The last is the largest, and mostly says whether it is worth it to look any closer.
        for known in reversed(self._segments):
            size = 8 * known.cells
            at -= known.cells
            # Copied before the numbers are read: what changes in between is seen again next time.
            now, last = self.reader.copy(known.end - size, known.end), known.last
            known.last = now
            if now != last:
                places = self._places(now, last, at, look=changed is not None)
                changed = None if places is None or changed is None else changed + places
        return changed

    def _places(self, now: bytes, last: bytes, first: int, *, look: bool) -> list[int] | None:
        """Take over *now*; return where it differs from *last* if to *look* is worth it."""
        size, end = len(now), first + len(now) // 8
        former, values = self.values[first:end], array("d", now)
        values.reverse()
        self.values[first:end] = values
        if not look or size != len(last):
            return None
        starts = range(0, size, _BLOCK_BYTES)
        blocks = [
            at for at in starts if now[at : at + _BLOCK_BYTES] != last[at : at + _BLOCK_BYTES]
        ]
        if len(blocks) > max(_FEW_BLOCKS, len(starts) / _WHOLE_FROM):
            return None
        found = []
        for at in blocks:
            begin, end = (size - min(at + _BLOCK_BYTES, size)) // 8, (size - at) // 8
            pairs = zip(values[begin:end], former[begin:end], strict=True)
            found += [at for at, (new, old) in enumerate(pairs, first + begin) if new != old]
        return found
