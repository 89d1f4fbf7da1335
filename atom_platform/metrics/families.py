"""
Counters, gauges and histograms of the catalog, as the code of this package counts into them.

A cell is one number in a value file. A family keeps the cell of each label set that it has counted,
so that a label set is looked up in the files once. After a fork, and whenever the files move,
`Storage` makes all families forget their cells: they would be those of another process.

Every change happens under `STORAGE.lock`. Nothing here raises: what could not be counted is counted
by `metric_errors_total{kind="record"}` and logged once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from prometheus_client.mmap_dict import mmap_key
from prometheus_client.utils import floatToGoString

from atom_platform.metrics.catalog import (
    METRIC_ERRORS,
    METRIC_LABEL_OVERFLOWS,
    Definition,
    family_name,
    file_kind,
)
from atom_platform.metrics.storage.exemplars import ExemplarCell, exemplar_cell, keep_exemplar
from atom_platform.metrics.storage.storage import STORAGE
from atom_platform.metrics.storage.value_files import Cell

__all__ = [
    "LABEL_OVERFLOW_COUNT",
    "METRIC_ERROR_COUNT",
    "CounterFamily",
    "GaugeFamily",
    "HistogramCells",
    "HistogramFamily",
    "label_text",
    "note_failure",
    "open_cell",
    "report_problems",
]

#: Longest label value that is kept; an id repeats in every bucket of its histogram.
_MAX_LABEL_CHARS: Final = 128


def label_text(value: object) -> str:
    """
    Return *value* as a label value: valid UTF-8, at most 128 characters. Never raises.

    Lone surrogates become `?`; a value whose `__str__` raises becomes `unprintable`.
    """
    try:
        text = value if type(value) is str else str(value)
    except Exception:
        return "unprintable"
    text = text[:_MAX_LABEL_CHARS]
    if not text.isascii():
        text = text.encode(errors="replace").decode()
    return text


def _cell_keys(definition: Definition, values: Sequence[str]) -> list[bytes]:
    """
    Return the keys of the label set *values* in prometheus_client's file format.

    One key for a counter or gauge; for a histogram that of the sum, then those of the buckets.
    """
    names = list(definition.labels)

    def key(sample: str, *bound: str) -> bytes:
        labels = [*names, "le"] if bound else names
        text = mmap_key(family_name(definition), sample, labels, [*values, *bound], definition.help)
        return text.encode()

    if definition.kind != "histogram":
        return [key(definition.name)]
    bounds = [*map(floatToGoString, definition.buckets), "+Inf"]
    return [
        key(f"{definition.name}_sum"),
        *(key(f"{definition.name}_bucket", bound) for bound in bounds),
    ]


def open_cell(definition: Definition, values: Sequence[str] = ()) -> Cell:
    """Return the cell of a counter's or gauge's label set; call it under `STORAGE.lock`."""
    (key,) = _cell_keys(definition, values)
    return STORAGE.cell(file_kind(definition), key)


class HistogramCells:
    """
    The cells of one label set of a histogram; make and use them under `STORAGE.lock`.

    The cells of the buckets are not cumulative, as in prometheus_client's files.
    """

    __slots__ = ("_bounds", "_exemplars", "_keys", "buckets", "sum")

    def __init__(self, definition: Definition, values: Sequence[str] = ()) -> None:
        sum_key, *self._keys = _cell_keys(definition, values)
        self._bounds = definition.buckets
        self.sum: Cell = STORAGE.cell("histogram", sum_key)
        self.buckets: list[Cell] = [STORAGE.cell("histogram", key) for key in self._keys]
        self._exemplars: dict[int, ExemplarCell | None] = {}

    def observe(self, value: float) -> None:
        """Add one observation."""
        cells, at = self.buckets[bisect_left(self._bounds, value)]
        cells[at] += 1.0
        cells, at = self.sum
        cells[at] += value

    def keep_exemplar(self, value: float, trace_id: str, timestamp: float) -> None:
        """Make *trace_id* the exemplar of the bucket of *value*; *timestamp* in Unix seconds."""
        bucket = bisect_left(self._bounds, value)
        if bucket not in self._exemplars:
            self._exemplars[bucket] = exemplar_cell(self._keys[bucket])
        cell = self._exemplars[bucket]
        if cell is not None:
            keep_exemplar(cell, trace_id, value, timestamp)


class CounterFamily:
    """A counter of the catalog."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self._cells: dict[tuple[str, ...], Cell] = {}
        STORAGE.on_invalidate(self._cells.clear)

    def has(self, values: tuple[str, ...]) -> bool:
        """Return whether this process has the cell of the label set *values* at hand."""
        return values in self._cells

    def add(self, values: tuple[str, ...] = (), amount: float = 1.0) -> None:
        """Add *amount* to the label set *values*, made by `label_text`. Never raises."""
        try:
            with STORAGE.lock:
                cells, at = self._cells.get(values) or self._open(values)
                cells[at] += amount
        except Exception as error:
            note_failure(self.definition, error)

    def _open(self, values: tuple[str, ...]) -> Cell:
        cell = self._cells[values] = open_cell(self.definition, values)
        return cell


class GaugeFamily(CounterFamily):
    """A gauge of the catalog: a negative amount may be added too."""

    def set(self, value: float, values: tuple[str, ...] = ()) -> None:
        """Set the label set *values*, made by `label_text`. Never raises."""
        try:
            with STORAGE.lock:
                cells, at = self._cells.get(values) or self._open(values)
                cells[at] = value
        except Exception as error:
            note_failure(self.definition, error)


class HistogramFamily:
    """A histogram of the catalog."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self._cells: dict[tuple[str, ...], HistogramCells] = {}
        STORAGE.on_invalidate(self._cells.clear)

    def observe(self, value: float, values: tuple[str, ...] = ()) -> None:
        """
        Add one observation to the label set *values*, made by `label_text`. Never raises.

        A negative *value*, as after a clock step, and NaN count as 0.
        """
        try:
            if not value >= 0.0:
                value = 0.0
            with STORAGE.lock:
                cells = self._cells.get(values)
                if cells is None:
                    cells = self._cells[values] = HistogramCells(self.definition, values)
                cells.observe(value)
        except Exception as error:
            note_failure(self.definition, error)


METRIC_ERROR_COUNT: Final = CounterFamily(METRIC_ERRORS)
LABEL_OVERFLOW_COUNT: Final = CounterFamily(METRIC_LABEL_OVERFLOWS)


def note_failure(definition: Definition, error: Exception) -> None:
    """Note that an event of *definition* was not counted; `report_problems` counts and logs it."""
    STORAGE.problems.note("record", "metric_not_recorded", Path(definition.name), error)


def report_problems() -> None:
    """Count and log the problems noted so far; never call it under `STORAGE.lock`."""
    for kind in STORAGE.problems.uncounted():
        METRIC_ERROR_COUNT.add((kind,))
    STORAGE.problems.log()
