"""
The numbers of one file of prometheus_client's format.

Its places are kept as one `itemgetter`: reading ten thousand numbers is then a single call.
"""

from __future__ import annotations

from array import array
from operator import itemgetter
from typing import Any

from atom_platform.metrics.multiprocess.reader import FileReader
from atom_platform.metrics.multiprocess.table import NUMBERS, SeriesTable

__all__ = ["Row"]


class Row:
    """
    The row of the file that *reader* reads; see `TallyRow`.

    Raises:
        CorruptFileError: From `learn`, when the file is not what it should be.
    """

    def __init__(self, reader: FileReader, table: SeriesTable) -> None:
        self.reader = reader
        self.table = table
        self._getter: Any = None
        self._places: list[int] = []
        self.numbers = array(NUMBERS, [0])
        self.values = array("d", [0.0])

    def learn(self) -> None:
        """Number the cells that were appended to the file."""
        if entries := self.reader.appended():
            keys, places = zip(*entries, strict=True)
            self.numbers.extend(self.table.numbers(self.reader.name.kind, keys))
            self._places += places
            # Twice the first: of a single place, itemgetter would make no tuple.
            self._getter = itemgetter(self._places[0], *self._places)

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
