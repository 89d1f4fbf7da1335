"""
The numbers of one file, in the order of the series table.

Which place of the file a series has is worked out when either gets longer, and kept as one
`itemgetter`: reading ten thousand numbers is then a single call.
"""

from __future__ import annotations

from array import array
from operator import itemgetter
from typing import Any

from atom_platform.metrics.multiprocess.reader import FileReader
from atom_platform.metrics.multiprocess.series import SeriesTable

__all__ = ["Row"]


class Row:
    """
    The row of the file that *reader* reads.

    Raises:
        CorruptFileError: From `learn`, when the file is not what it should be.
    """

    def __init__(self, reader: FileReader, table: SeriesTable) -> None:
        self.reader = reader
        self._table = table
        self._numbers = array("L")
        self._places = array("L")
        self._getter: Any = None
        self._shape = (-1, -1)
        #: The numbers of what follows the row proper: further keys of series that it has already.
        self.extras: list[int] = []

    def learn(self) -> None:
        """Number the cells that were appended to the file."""
        if entries := self.reader.appended():
            keys, places = zip(*entries, strict=True)
            self._numbers.extend(self._table.numbers(self.reader.name.kind, keys))
            self._places.extend(places)

    def read(self) -> tuple[float, ...]:
        """Return one number for each series of the table, 0 for those not in this file; extras."""
        shape = self._table.size, len(self._places)
        if shape != self._shape:
            self._prepare()
            self._shape = shape
        values: tuple[float, ...] = self._getter(self.reader.cells)
        if values[0] != 0.0:
            # The place that stands for absent series no longer holds 0; find another.
            self._prepare()
            values = self._getter(self.reader.cells)
        return values

    def _prepare(self) -> None:
        size, cells = self._table.size, self.reader.cells
        # The time of a value that is added up is 0, and stands in for what the file has not.
        zero = next((place + 1 for place in self._places if cells[place + 1] == 0.0), None)
        if zero is None:
            self._getter = lambda cells: self._one_by_one(cells, size)
            return
        places, self.extras = [zero] * size, []
        further = []
        for number, place in zip(self._numbers, self._places, strict=True):
            if number and places[number] == zero:
                places[number] = place
            elif number:
                self.extras.append(number)
                further.append(place)
        # Of a single place, itemgetter would make no tuple; number 0 is always one that is ignored.
        places += [*further, zero]
        self._getter = itemgetter(*places)

    def _one_by_one(self, cells: Any, size: int) -> tuple[float, ...]:
        values = [0.0] * size
        for number, place in zip(self._numbers, self._places, strict=True):
            values[number] += cells[place]
        return (0.0, *values[1:])
