"""
The numbers of one file of prometheus_client's format.

Its positions are kept as one `itemgetter`: reading ten thousand numbers is then a single call.

The reading side of a tally.

Its numbers are compared with the last ones block by block, and only those of blocks that differ
are looked at. Nothing read here is trusted: a file may be cut, garbage, or half written.

The totals of one kind over all processes.

A total is always added up anew, in the order of the files, never corrected by a difference: floats
added in another order may come out smaller, and a counter would seem to go back.

From the gauges of many processes to the samples of one service.

What their minimum, sum or latest is, is prometheus_client's to say: the samples equal those of its
MultiProcessCollector for the same files in the same order.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import repeat, takewhile
from operator import add, itemgetter
from typing import Any, Final

from atom_platform.metrics.samples import FamilySamples, Labels, Sample
from atom_platform.metrics.scrape.series_table import NUMBERS, SeriesTable
from atom_platform.metrics.storage.client_format import CorruptFileError, Key, ValueFileReader
from atom_platform.metrics.storage.columnar_files import ColumnarReader
from atom_platform.metrics.storage.columnar_format import TEXT_AT

__all__ = ["ClientFileValues", "ColumnarFileValues", "FileValues", "KindTotals", "MergedGauges"]


class ClientFileValues:
    """
    The row of the file that *reader* reads; see `ColumnarFileValues`.

    Raises:
        CorruptFileError: From `load_new`, when the file is not what it should be.
    """

    def __init__(self, reader: ValueFileReader, table: SeriesTable) -> None:
        self.reader = reader
        self.table = table
        self._getter: Any = None
        self._positions: list[int] = []
        self.numbers = array(NUMBERS, [0])
        self.values = array("d", [0.0])

    def load_new(self) -> None:
        """Number the cells that were appended to the file."""
        if entries := self.reader.appended():
            keys, positions = zip(*entries, strict=True)
            self.numbers.extend(self.table.numbers_of_keys(self.reader.name.kind, keys))
            self._positions += positions
            # Twice the first: of a single position, itemgetter would make no tuple.
            self._getter = itemgetter(self._positions[0], *self._positions)

    def refresh(self) -> list[int] | None:
        """Read the values anew, and return where one changed; None: look everywhere."""
        if self._getter is None:
            return []
        values = array("d", self._getter(self.reader.cells))
        values[0] = 0.0
        if values == self.values:
            return []
        self.values = values
        return None


#: Of the numbers that are compared at once. Smaller ones are more calls, larger ones more numbers.
_BLOCK_BYTES: Final = 1024
#: More than one changed block in so many: everything is looked at, unless it is few anyway.
_ALL_BLOCKS_FROM: Final = 4
_FEW_BLOCKS: Final = 8


class _Segment:
    """What is known of one segment."""

    __slots__ = ("cells", "end", "last", "line_at", "line_cells", "segment", "text_end")

    def __init__(self, segment: tuple[int, int]) -> None:
        self.segment = segment
        self.end = segment[1]
        self.cells = self.line_at = self.line_cells = self.text_end = 0
        self.last = b""


class ColumnarFileValues:
    """
    The numbers of the tally that *reader* reads.

    Attributes:
        numbers: Which series each is of; the first, which is always 0, of none.
        values: As last read, in the same order.

    Raises:
        OSError: From its methods: the file cannot be opened again.
        CorruptFileError: Likewise, it is not what it should be.
    """

    def __init__(self, reader: ColumnarReader, table: SeriesTable) -> None:
        self.reader = reader
        self.table = table
        self._segments: list[_Segment] = []
        self.numbers = array(NUMBERS, [0])
        self.values = array("d", [0.0])

    def load_new(self) -> None:
        """Number what was added to the file."""
        self.reader.find_new_segments()
        for segment in self.reader.segments[len(self._segments) :]:
            self._segments.append(_Segment(segment))
        for known in self._segments:
            text = self.reader.text(known.segment, known.line_at)
            if known.line_at + len(text) != known.text_end:
                self._parse_text(known, text)

    def _parse_text(self, known: _Segment, text: bytes) -> None:
        """Take in *text*, which begins with the line that was the last one so far."""
        begin, end = known.segment
        empty, *lines = text.split(b"\n")
        # A line has one tab more than sample_ids; checked before the table learns any of it.
        cells = known.cells - known.line_cells + text.count(b"\t") - len(lines)
        text_end = known.line_at + len(text)
        if empty or TEXT_AT + text_end + 8 * cells > end - begin:
            raise CorruptFileError(f"{cells} numbers in {end - begin} bytes")
        numbers = self.table.numbers_of_lines(self.reader.name.kind, lines)
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
                positions = self._take_over(now, last, at, look=changed is not None)
                changed = None if positions is None or changed is None else changed + positions
        return changed

    def _take_over(self, now: bytes, last: bytes, first: int, *, look: bool) -> list[int] | None:
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
        if len(blocks) > max(_FEW_BLOCKS, len(starts) / _ALL_BLOCKS_FROM):
            return None
        found = []
        for at in blocks:
            begin, end = (size - min(at + _BLOCK_BYTES, size)) // 8, (size - at) // 8
            pairs = zip(values[begin:end], former[begin:end], strict=True)
            found += [at for at, (new, old) in enumerate(pairs, first + begin) if new != old]
        return found


#: The values of one file, whichever format it has.
FileValues = ClientFileValues | ColumnarFileValues

#: From one total in so many on, all are added up: that is less work for each.
_WHOLE_FROM: Final = 8
#: So many rows are added up in one go, without a list of sums for each.
_AT_ONCE: Final = 16


class _ValueOrder:
    """The position of each number in a row of values; 0, whose value is 0.0, if it has none."""

    def __init__(self, numbers: array[int], size: int) -> None:
        self.numbers, self.size = numbers[:], size
        positions = [0] * size
        #: Further cells of a number that the row has already.
        self.extras: list[tuple[int, int]] = []
        for position, number in enumerate(numbers):
            if number and positions[number]:
                self.extras.append((number, position))
            elif number:
                positions[number] = position
        self.positions = tuple(positions)
        # Twice the first: of a single position, itemgetter would make no tuple.
        self.getter: Any = itemgetter(*self.positions) if size > 1 else lambda values: (values[0],)

    def fits(self, numbers: array[int], size: int) -> bool:
        """Return whether it is the order of a row of *numbers*."""
        return self.size == size and self.numbers == numbers


def _add_pairwise(one: Iterable[float], other: Iterable[float]) -> Iterator[float]:
    return map(add, one, other)


class KindTotals:
    """
    The sums of one kind.

    Attributes:
        totals: By number of the table.
    """

    def __init__(self, kind: str, table: SeriesTable) -> None:
        self._kind = kind
        self._table = table
        self._rows: list[tuple[FileValues, _ValueOrder]] = []
        self.totals: list[float] = []

    def update(self, read: Sequence[tuple[FileValues, list[int] | None]]) -> None:
        """Take over what changed in the rows *read*, which are all there are."""
        size = self._table.size(self._kind)
        whole = [row for row, _ in read] != [row for row, _ in self._rows]
        if whole or len(self.totals) != size or any(changed is None for _, changed in read):
            self._set_order([row for row, _ in read], size)
            self._sum_all(size)
            return
        numbers = {row.numbers[position] for row, changed in read for position in changed or ()}
        if len(numbers) * _WHOLE_FROM > size or any(order.extras for _, order in self._rows):
            self._sum_all(size)
            return
        for number in numbers:
            total = 0.0
            for row, order in self._rows:
                total += row.values[order.positions[number]]
            self.totals[number] = total
        self._table.mark_stale(self._kind, numbers)

    def _set_order(self, rows: list[FileValues], size: int) -> None:
        orders = {id(row): order for row, order in self._rows}
        self._rows = []
        last: _ValueOrder | None = None
        for row in rows:
            order = orders.get(id(row))
            if order is None or not order.fits(row.numbers, size):
                # Workers of one service mostly met the same things in the same order.
                same = last is not None and last.fits(row.numbers, size)
                order = last if same and last is not None else _ValueOrder(row.numbers, size)
            self._rows.append((row, order))
            last = order

    def _sum_all(self, size: int) -> None:
        totals = [0.0] * size
        # Workers that met the same things in the same order are added up in that, if they come
        # first: each number is the same sum, put in its position once.
        alike = self._rows_in_same_order()
        if alike:
            order = self._rows[0][1]
            sums: Iterable[float] = repeat(0.0)
            for at in range(0, len(alike), _AT_ONCE):
                sums = list(
                    reduce(_add_pairwise, [row.values for row in alike[at : at + _AT_ONCE]], sums)
                )
            totals = list(order.getter(sums))
        for row, order in self._rows[len(alike) :]:
            totals = list(_add_pairwise(totals, order.getter(row.values)))
            for number, position in order.extras:
                totals[number] += row.values[position]
        self.totals = totals
        self._table.mark_stale(self._kind)

    def _rows_in_same_order(self) -> list[FileValues]:
        """Return the first rows, as far as they have the same order."""
        first = self._rows[0][1] if self._rows else None
        if first is None or first.extras:
            return []
        return [row for row, _ in takewhile(lambda each: each[1] is first, self._rows)]


class MergedGauges:
    """Takes the cells of one file after the other; `families` gives what they come to."""

    def __init__(self) -> None:
        self._help: dict[str, str] = {}
        self._values: dict[str, dict[tuple[str, Labels], float]] = {}
        self._times: dict[tuple[str, str, Labels], float] = {}

    def add(self, kind: str, writer: str, cells: Iterable[tuple[Key, float, float]]) -> None:
        """
        Take the cells of one file.

        Args:
            kind: `gauge_` and the mode.
            writer: Which process wrote it.
            cells: Key, value and timestamp of each.
        """
        mode = kind.removeprefix("gauge_").removeprefix("live")
        for key, value, timestamp in cells:
            self._help.setdefault(key.family, key.help)
            values = self._values.setdefault(key.family, {})
            position = key.sample, key.labels
            if mode == "all":
                values[key.sample, (*key.labels, ("pid", writer))] = value
            elif mode == "sum":
                values[position] = values.get(position, 0.0) + value
            elif mode == "mostrecent":
                # One that was never set has the time 0, and is not exposed.
                at = key.family, key.sample, key.labels
                if self._times.get(at, 0.0) < timestamp:
                    self._times[at] = timestamp
                    values[position] = value
            else:
                known = values.setdefault(position, value)
                if value < known if mode == "min" else value > known:
                    values[position] = value

    def families(self) -> list[FamilySamples]:
        """Return the families, in no order."""
        return [
            FamilySamples(
                name,
                "gauge",
                self._help[name],
                [Sample(*position, value) for position, value in sorted(values.items())],
            )
            for name, values in self._values.items()
        ]
