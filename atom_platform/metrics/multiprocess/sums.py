"""
The totals of one kind over all processes.

A total is always added up anew, in the order of the files, never corrected by a difference: floats
added in another order may come out smaller, and a counter would seem to go back.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import repeat, takewhile
from operator import add, itemgetter
from typing import Any, Final

from atom_platform.metrics.multiprocess.rows import Row
from atom_platform.metrics.multiprocess.table import SeriesTable
from atom_platform.metrics.multiprocess.tally_reader import TallyRow

__all__ = ["Sums"]

#: From one total in so many on, all are added up: that is less work for each.
_WHOLE_FROM: Final = 8
#: So many rows are added up in one go, without a list of sums for each.
_AT_ONCE: Final = 16


class _Order:
    """Where in a row's values the numbers are: place 0, a value of 0, stands for those it lacks."""

    def __init__(self, numbers: array[int], size: int) -> None:
        self.numbers, self.size = numbers[:], size
        places = [0] * size
        #: Further cells of a number that the row has already.
        self.extras: list[tuple[int, int]] = []
        for place, number in enumerate(numbers):
            if number and places[number]:
                self.extras.append((number, place))
            elif number:
                places[number] = place
        self.places = tuple(places)
        # Twice the first: of a single place, itemgetter would make no tuple.
        self.getter: Any = itemgetter(*self.places) if size > 1 else lambda values: (values[0],)

    def fits(self, numbers: array[int], size: int) -> bool:
        """Return whether it is the order of a row of *numbers*."""
        return self.size == size and self.numbers == numbers


def _sum(one: Iterable[float], other: Iterable[float]) -> Iterator[float]:
    return map(add, one, other)


class Sums:
    """
    The sums of one kind.

    Attributes:
        totals: By number of the table.
    """

    def __init__(self, kind: str, table: SeriesTable) -> None:
        self._kind = kind
        self._table = table
        self._rows: list[tuple[Row | TallyRow, _Order]] = []
        self.totals: list[float] = []

    def update(self, read: Sequence[tuple[Row | TallyRow, list[int] | None]]) -> None:
        """Take over what changed in the rows *read*, which are all there are."""
        size = self._table.size(self._kind)
        whole = [row for row, _ in read] != [row for row, _ in self._rows]
        if whole or len(self.totals) != size or any(changed is None for _, changed in read):
            self._order([row for row, _ in read], size)
            self._add_up(size)
            return
        numbers = {row.numbers[place] for row, changed in read for place in changed or ()}
        if len(numbers) * _WHOLE_FROM > size or any(order.extras for _, order in self._rows):
            self._add_up(size)
            return
        for number in numbers:
            total = 0.0
            for row, order in self._rows:
                total += row.values[order.places[number]]
            self.totals[number] = total
        self._table.mark(self._kind, numbers)

    def _order(self, rows: list[Row | TallyRow], size: int) -> None:
        orders = {id(row): order for row, order in self._rows}
        self._rows = []
        last: _Order | None = None
        for row in rows:
            order = orders.get(id(row))
            if order is None or not order.fits(row.numbers, size):
                # Workers of one service mostly met the same things in the same order.
                same = last is not None and last.fits(row.numbers, size)
                order = last if same and last is not None else _Order(row.numbers, size)
            self._rows.append((row, order))
            last = order

    def _add_up(self, size: int) -> None:
        totals = [0.0] * size
        # Workers that met the same things in the same order are added up in that, if they come
        # first: each number is the same sum, put in its place once.
        alike = self._alike()
        if alike:
            order = self._rows[0][1]
            sums: Iterable[float] = repeat(0.0)
            for at in range(0, len(alike), _AT_ONCE):
                sums = list(reduce(_sum, [row.values for row in alike[at : at + _AT_ONCE]], sums))
            totals = list(order.getter(sums))
        for row, order in self._rows[len(alike) :]:
            totals = list(_sum(totals, order.getter(row.values)))
            for number, place in order.extras:
                totals[number] += row.values[place]
        self.totals = totals
        self._table.mark(self._kind)

    def _alike(self) -> list[Row | TallyRow]:
        """Return the first rows, as far as they have the same order."""
        first = self._rows[0][1] if self._rows else None
        if first is None or first.extras:
            return []
        return [row for row, _ in takewhile(lambda each: each[1] is first, self._rows)]
