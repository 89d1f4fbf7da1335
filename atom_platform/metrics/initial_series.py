"""
The series that a scrape shows before anything was counted: every family, and all known zeros.

A label set whose every value is known starts at 0. A ratio is then 0 instead of absent, and the
first event is an increase that `rate()` sees.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import product

from atom_platform.metrics.catalog import DEFINITIONS, Definition, family_name
from atom_platform.metrics.custom import custom_definitions
from atom_platform.metrics.samples import FamilySamples, Sample
from atom_platform.metrics.scrape.series import value_text
from atom_platform.metrics.scrape.series_table import SeriesTable
from atom_platform.metrics.storage.columnar_format import format_line

__all__ = ["add_initial_series", "with_missing_gauges"]


def add_initial_series(table: SeriesTable) -> None:
    """Add every counter and histogram of the catalog and of the application to *table*."""
    lines: defaultdict[str, list[bytes]] = defaultdict(list)
    for definition in (*DEFINITIONS, *custom_definitions()):
        if definition.kind != "gauge" and not definition.computed:
            table.family(family_name(definition), definition.kind, definition.help)
            lines[definition.kind] += [
                _series_line(definition, values) for values in _known_label_sets(definition)
            ]
    for kind, of_kind in lines.items():
        table.numbers_of_lines(kind, of_kind)


def with_missing_gauges(gauges: Iterable[FamilySamples]) -> list[FamilySamples]:
    """Return *gauges* and all other gauges of the catalog, those without labels at 0."""
    found = {each.name: each for each in gauges}
    for definition in (*DEFINITIONS, *custom_definitions()):
        name = family_name(definition)
        if name not in found and (definition.kind == "gauge" or definition.computed):
            zeros = [] if definition.labels or definition.computed else [Sample(name, (), 0.0)]
            found[name] = FamilySamples(name, definition.kind, definition.help, zeros)
    return list(found.values())


def _series_line(definition: Definition, values: tuple[str, ...]) -> bytes:
    """Return the label set *values* as a line of the columnar files."""
    labels = tuple(sorted(zip(definition.labels, values, strict=True)))
    name, help_text = family_name(definition), definition.help
    if definition.kind != "histogram":
        return format_line(name, labels, help_text, [definition.name])
    bounds = [*map(value_text, definition.buckets), "+Inf"]
    return format_line(name, labels, help_text, [f"{definition.name}_sum"], bounds)


def _known_label_sets(definition: Definition) -> list[tuple[str, ...]]:
    """Return all label sets of *definition*, none if the values of a label are not known."""
    if any(label not in definition.values for label in definition.labels):
        return []
    return list(product(*(definition.values[label] for label in definition.labels)))
