"""
From the values of many files to the values of one service.

`ClientFileValues` and `ColumnarFileValues` hold the values of one file, and tell which of them
changed since the last scrape. `KindTotals` sums counters, histograms and summaries over all files.
`MergedGauges` merges gauges as the MultiProcessCollector of prometheus_client does.

A total is always summed again in the order of the files, never corrected by a difference. Floats
summed in another order may give a smaller total, and a counter must not go back.
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
    The values of a file of prometheus_client's format; see `ColumnarFileValues`.

    The positions are kept as one `itemgetter`, so that one call reads thousands of values.

    Raises:
        CorruptFileError: From `load_new`: the file violates its format.
    """

    def __init__(self, reader: ValueFileReader, table: SeriesTable) -> None:
        self.reader = reader
        self.table = table
        self._getter: Any = None
        self._positions: list[int] = []
        self.numbers = array(NUMBERS, [0])
        self.values = array("d", [0.0])

    def load_new(self) -> None:
        """Look up the series numbers of the entries that were appended to the file."""
        if entries := self.reader.appended():
            keys, positions = zip(*entries, strict=True)
            self.numbers.extend(self.table.numbers_of_keys(self.reader.name.kind, keys))
            self._positions += positions
            # The first position twice: itemgetter returns no tuple for a single one.
            self._getter = itemgetter(self._positions[0], *self._positions)

    def refresh(self) -> list[int] | None:
        """Read the values again. Return the positions of changed ones; None: any of them."""
        if self._getter is None:
            return []
        values = array("d", self._getter(self.reader.cells))
        values[0] = 0.0
        if values == self.values:
            return []
        self.values = values
        return None


#: Bytes that are compared at once. Smaller blocks need more calls, larger ones more comparisons.
_BLOCK_BYTES: Final = 1024
#: If more than one block in so many changed, all values are taken as changed. Not if they are few.
_ALL_BLOCKS_FROM: Final = 4
_FEW_BLOCKS: Final = 8


class _Segment:
    """
    How much of a segment was read so far.

    Attributes:
        segment: Its start and end offset in the file.
        cells: The number of its values.
        text_end: The length of its text.
        line_at: The offset of its last line, which may still grow.
        line_cells: The number of values of that line.
        last: The bytes of its values at the last scrape.
    """

    __slots__ = ("cells", "end", "last", "line_at", "line_cells", "segment", "text_end")

    def __init__(self, segment: tuple[int, int]) -> None:
        self.segment = segment
        self.end = segment[1]
        self.cells = self.line_at = self.line_cells = self.text_end = 0
        self.last = b""


class ColumnarFileValues:
    """
    The values of a columnar file, which are compared with the former ones block by block.

    Attributes:
        numbers: The number of each value in the series table. The first one is 0: no series.
        values: The values as last read, in the same order. The first one is 0.0.

    Raises:
        OSError: From its methods: the file cannot be opened again.
        CorruptFileError: From its methods: the file violates its format.
    """

    def __init__(self, reader: ColumnarReader, table: SeriesTable) -> None:
        self.reader = reader
        self.table = table
        self._segments: list[_Segment] = []
        self.numbers = array(NUMBERS, [0])
        self.values = array("d", [0.0])

    def load_new(self) -> None:
        """Look up the series numbers of the lines that were added to the file."""
        self.reader.find_new_segments()
        for segment in self.reader.segments[len(self._segments) :]:
            self._segments.append(_Segment(segment))
        for known in self._segments:
            text = self.reader.text(known.segment, known.line_at)
            if known.line_at + len(text) != known.text_end:
                self._parse_text(known, text)

    def _parse_text(self, known: _Segment, text: bytes) -> None:
        """Parse new *text* of a segment. It begins with the last known line, which may grow."""
        begin, end = known.segment
        empty, *lines = text.split(b"\n")
        # A line has one tab more than sample ids. Check the size before the table is changed.
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
        """Read the values again. Return the positions of changed ones; None: most have changed."""
        changed: list[int] | None = []
        at = 1 + sum(known.cells for known in self._segments)
        # The last segment is the largest: it usually decides whether a close comparison pays.
        for known in reversed(self._segments):
            size = 8 * known.cells
            at -= known.cells
            # Copied once and then compared: a later change is seen at the next scrape.
            now, last = self.reader.copy(known.end - size, known.end), known.last
            known.last = now
            if now != last:
                positions = self._take_over(now, last, at, look=changed is not None)
                changed = None if positions is None or changed is None else changed + positions
        return changed

    def _take_over(self, now: bytes, last: bytes, first: int, *, look: bool) -> list[int] | None:
        """
        Store the values *now* of one segment at position *first*.

        Args:
            now: The bytes of the values, last value first.
            last: The same at the last scrape.
            look: Whether to compare them.

        Returns the positions of changed values, or None if most have changed or *look* is false.
        """
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

#: If one total in so many changed, all are summed again, which costs less for each.
_WHOLE_FROM: Final = 8
#: The number of files that are summed in one pass, without a list of sums for each.
_AT_ONCE: Final = 16


class _ValueOrder:
    """The position of each number in a row of values; 0, whose value is 0.0, if it has none."""

    def __init__(self, numbers: array[int], size: int) -> None:
        self.numbers, self.size = numbers[:], size
        positions = [0] * size
        #: Number and position of further values of a number that occurs more than once.
        self.extras: list[tuple[int, int]] = []
        for position, number in enumerate(numbers):
            if number and positions[number]:
                self.extras.append((number, position))
            elif number:
                positions[number] = position
        self.positions = tuple(positions)
        # itemgetter returns no tuple for a single position.
        self.getter: Any = itemgetter(*self.positions) if size > 1 else lambda values: (values[0],)

    def fits(self, numbers: array[int], size: int) -> bool:
        """Return whether this is the order of a file with these *numbers*."""
        return self.size == size and self.numbers == numbers


def _add_pairwise(one: Iterable[float], other: Iterable[float]) -> Iterator[float]:
    return map(add, one, other)


class KindTotals:
    """
    The sums of all files of one kind.

    Attributes:
        totals: The sum of each number of the series table.
    """

    def __init__(self, kind: str, table: SeriesTable) -> None:
        self._kind = kind
        self._table = table
        self._rows: list[tuple[FileValues, _ValueOrder]] = []
        self.totals: list[float] = []

    def update(self, read: Sequence[tuple[FileValues, list[int] | None]]) -> None:
        """Update the totals. *read* holds all files, each with the positions that changed."""
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
        """Keep the order of the values of each file; files with the same series share one."""
        orders = {id(row): order for row, order in self._rows}
        self._rows = []
        last: _ValueOrder | None = None
        for row in rows:
            order = orders.get(id(row))
            if order is None or not order.fits(row.numbers, size):
                # Workers of one service usually created the same series in the same order.
                same = last is not None and last.fits(row.numbers, size)
                order = last if same and last is not None else _ValueOrder(row.numbers, size)
            self._rows.append((row, order))
            last = order

    def _sum_all(self, size: int) -> None:
        """Sum all values of all files again."""
        totals = [0.0] * size
        # Files with the same order, if they come first, are summed in that order. Only the result
        # is brought into the order of the table.
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
        """Return the files at the beginning that share one order, without repeated numbers."""
        first = self._rows[0][1] if self._rows else None
        if first is None or first.extras:
            return []
        return [row for row, _ in takewhile(lambda each: each[1] is first, self._rows)]


class MergedGauges:
    """
    Merges gauges of many processes. `add` takes the values of one file after the other.

    The samples equal those of prometheus_client's MultiProcessCollector for the same files in the
    same order.
    """

    def __init__(self) -> None:
        self._help: dict[str, str] = {}
        self._values: dict[str, dict[tuple[str, Labels], float]] = {}
        self._times: dict[tuple[str, str, Labels], float] = {}

    def add(self, kind: str, writer: str, cells: Iterable[tuple[Key, float, float]]) -> None:
        """
        Merge the values of one file.

        Args:
            kind: `gauge_` and the mode.
            writer: The process that wrote them, as in the name of its files.
            cells: Key, value and timestamp of each value.
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
                # A gauge that was never set has timestamp 0 and is not exposed.
                at = key.family, key.sample, key.labels
                if self._times.get(at, 0.0) < timestamp:
                    self._times[at] = timestamp
                    values[position] = value
            else:
                known = values.setdefault(position, value)
                if value < known if mode == "min" else value > known:
                    values[position] = value

    def families(self) -> list[FamilySamples]:
        """Return the merged families in no particular order."""
        return [
            FamilySamples(
                name,
                "gauge",
                self._help[name],
                [Sample(*position, value) for position, value in sorted(values.items())],
            )
            for name, values in self._values.items()
        ]
