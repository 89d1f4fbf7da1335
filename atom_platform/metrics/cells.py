"""From a row of the metric table to the cells that hold its numbers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from prometheus_client.mmap_dict import mmap_key
from prometheus_client.utils import floatToGoString

from atom_platform.metrics.definitions import Definition
from atom_platform.metrics.storage.exemplars import ExemplarCell, exemplar_cell, keep_exemplar
from atom_platform.metrics.storage.storage import STORAGE
from atom_platform.metrics.storage.value_files import Cell

__all__ = ["HistogramCells", "clean", "counter_cell", "gauge_cell", "histogram_cells", "keys_of"]

#: Longest label value that is kept; an id repeats in every bucket of its histogram.
_LONGEST: Final = 128


def clean(value: object) -> str:
    """Return *value* as a label value: text that can be written out, and not long. Never raises."""
    try:
        text = value if type(value) is str else str(value)
    except Exception:  # a label whose __str__ raises is still one event to count
        return "unprintable"
    text = text[:_LONGEST]
    if not text.isascii():
        text = text.encode(errors="replace").decode()
    return text


def family(definition: Definition) -> str:
    """Return the family's name as prometheus_client knows it: a counter's has no `_total`."""
    name = definition.name
    return name.removesuffix("_total") if definition.kind == "counter" else name


def keys_of(definition: Definition, values: Sequence[str]) -> list[tuple[bytes, str, str]]:
    """Return key, sample name and `le` of each cell of the label set *values*: the sum first."""
    names = list(definition.labels)

    def key(sample: str, *extra: str) -> bytes:
        labels = [*names, "le"] if extra else names
        text = mmap_key(family(definition), sample, labels, [*values, *extra], definition.help)
        return text.encode()

    if definition.kind != "histogram":
        return [(key(definition.name), definition.name, "")]
    bounds = [*map(floatToGoString, definition.buckets), "+Inf"]
    bucket = f"{definition.name}_bucket"
    return [
        (key(f"{definition.name}_sum"), f"{definition.name}_sum", ""),
        *((key(bucket, bound), bucket, bound) for bound in bounds),
    ]


def kind_of(definition: Definition) -> str:
    """Return the name of the kind of file that *definition* is counted in."""
    return f"gauge_{definition.mode}" if definition.kind == "gauge" else definition.kind


def counter_cell(definition: Definition, values: Sequence[str] = ()) -> Cell:
    """Return the cell of a counter's or gauge's label set; under the storage's lock."""
    ((key, _, _),) = keys_of(definition, values)
    return STORAGE.cell(kind_of(definition), key)


gauge_cell = counter_cell


class HistogramCells:
    """
    One label set of a histogram; under the storage's lock, from `histogram_cells`.

    Attributes:
        sum: The cell of the sum.
        buckets: Those of the buckets, not cumulated, the last without a bound.
    """

    __slots__ = ("_bounds", "_exemplars", "_keys", "buckets", "sum")

    def __init__(self, definition: Definition, values: Sequence[str]) -> None:
        cells = [(key, STORAGE.cell("histogram", key)) for key, _, _ in keys_of(definition, values)]
        self._bounds = definition.buckets
        self.sum: Cell = cells[0][1]
        self.buckets: list[Cell] = [cell for _, cell in cells[1:]]
        self._keys = [key for key, _ in cells[1:]]
        self._exemplars: dict[int, ExemplarCell | None] = {}

    def observe(self, value: float) -> None:
        """Add one observation."""
        cells, at = self.buckets[bisect_left(self._bounds, value)]
        cells[at] += 1.0
        cells, at = self.sum
        cells[at] += value

    def keep_exemplar(self, value: float, trace_id: str, timestamp: float) -> None:
        """Remember *trace_id* as the exemplar of the bucket of *value*."""
        bucket = bisect_left(self._bounds, value)
        if bucket not in self._exemplars:
            self._exemplars[bucket] = exemplar_cell(self._keys[bucket])
        cell = self._exemplars[bucket]
        if cell is not None:
            keep_exemplar(cell, trace_id, value, timestamp)


def histogram_cells(definition: Definition, values: Sequence[str] = ()) -> HistogramCells:
    """Return the cells of a histogram's label set."""
    return HistogramCells(definition, values)
