"""
Families as the code counts into them: cells by label set, kept, and nothing that raises.

A family's cells are looked up once per label set. They are forgotten together whenever the process
forks or its files move, so that nobody adds to a cell that is another process's or no one's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from atom_platform.metrics.cells import HistogramCells, counter_cell, histogram_cells
from atom_platform.metrics.definitions import (
    METRIC_ERRORS,
    METRIC_LABEL_OVERFLOWS,
    Definition,
)
from atom_platform.metrics.storage.storage import STORAGE
from atom_platform.metrics.storage.value_files import Cell

__all__ = ["ERRORS", "OVERFLOWS", "Family", "HistogramFamily", "count_problems", "not_recorded"]


class Family:
    """A counter or gauge of the metric table."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self._cells: dict[tuple[str, ...], Cell] = {}
        STORAGE.on_invalidate(self._cells.clear)

    def has(self, values: tuple[str, ...]) -> bool:
        """Return whether this process has counted the label set *values* already."""
        return values in self._cells

    def add(self, values: tuple[str, ...] = (), amount: float = 1.0) -> None:
        """Add *amount* to the label set *values*, which must be clean. Never raises."""
        try:
            with STORAGE.lock:
                cell = self._cells.get(values)
                if cell is None:
                    cell = self._cells[values] = counter_cell(self.definition, values)
                cells, at = cell
                cells[at] += amount
        except Exception as error:
            not_recorded(self.definition, error)

    def set(self, value: float, values: tuple[str, ...] = ()) -> None:
        """Set the label set *values*, which must be clean. Never raises."""
        try:
            with STORAGE.lock:
                cell = self._cells.get(values)
                if cell is None:
                    cell = self._cells[values] = counter_cell(self.definition, values)
                cells, at = cell
                cells[at] = value
        except Exception as error:
            not_recorded(self.definition, error)


class HistogramFamily:
    """A histogram of the metric table."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self._cells: dict[tuple[str, ...], HistogramCells] = {}
        STORAGE.on_invalidate(self._cells.clear)

    def observe(self, seconds: float, values: tuple[str, ...] = ()) -> None:
        """
        Add one observation to the label set *values*, which must be clean. Never raises.

        What is not a duration (negative, as after a clock step, or NaN) counts as 0.
        """
        try:
            if not seconds >= 0.0:
                seconds = 0.0
            with STORAGE.lock:
                cells = self._cells.get(values)
                if cells is None:
                    cells = self._cells[values] = histogram_cells(self.definition, values)
                cells.observe(seconds)
        except Exception as error:
            not_recorded(self.definition, error)


ERRORS: Final = Family(METRIC_ERRORS)
OVERFLOWS: Final = Family(METRIC_LABEL_OVERFLOWS)


def not_recorded(definition: Definition, error: Exception) -> None:
    """Note that something was not counted; it is counted as that, and logged once, later."""
    STORAGE.problems.note("record", "metric_not_recorded", Path(definition.name), error)


def count_problems() -> None:
    """Count and log what went wrong so far; never call it under the storage's lock."""
    for kind in STORAGE.problems.uncounted():
        ERRORS.add((kind,))
    STORAGE.problems.log()
