"""What the metric table promises before anything was counted: every family, and its known zeros."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import product

from atom_platform.metrics.cells import family
from atom_platform.metrics.custom import custom_definitions
from atom_platform.metrics.definitions import DEFINITIONS, Definition
from atom_platform.metrics.samples import FamilySamples, Sample
from atom_platform.metrics.scrape.series import value_text
from atom_platform.metrics.scrape.series_table import SeriesTable
from atom_platform.metrics.storage.columnar_format import format_line

__all__ = ["completed_gauges", "seed"]


def seed(table: SeriesTable) -> None:
    """
    Give *table* every counter and histogram of the metric table, and of the application's own.

    A label set whose every value is known starts at 0: a ratio is then 0 and not absent, and the
    first event is an increase.
    """
    lines: defaultdict[str, list[bytes]] = defaultdict(list)
    for definition in (*DEFINITIONS, *custom_definitions()):
        if definition.kind != "gauge" and not definition.computed:
            table.family(family(definition), definition.kind, definition.help)
            known = _known_label_sets(definition)
            lines[definition.kind] += [_line(definition, values) for values in known]
    for kind, of_kind in lines.items():
        table.numbers_of_lines(kind, of_kind)


def completed_gauges(gauges: Iterable[FamilySamples]) -> list[FamilySamples]:
    """Return *gauges* and the metric table's other ones, those without labels at 0."""
    found = {each.name: each for each in gauges}
    for definition in (*DEFINITIONS, *custom_definitions()):
        name = family(definition)
        if name not in found and (definition.kind == "gauge" or definition.computed):
            zeros = [] if definition.labels or definition.computed else [Sample(name, (), 0.0)]
            found[name] = FamilySamples(name, definition.kind, definition.help, zeros)
    return list(found.values())


def _line(definition: Definition, values: tuple[str, ...]) -> bytes:
    labels = tuple(sorted(zip(definition.labels, values, strict=True)))
    name, help_text = family(definition), definition.help
    if definition.kind != "histogram":
        return format_line(name, labels, help_text, [definition.name])
    bounds = [*map(value_text, definition.buckets), "+Inf"]
    return format_line(name, labels, help_text, [f"{definition.name}_sum"], bounds)


def _known_label_sets(definition: Definition) -> list[tuple[str, ...]]:
    if any(label not in definition.values for label in definition.labels):
        return []
    return list(product(*(definition.values[label] for label in definition.labels)))
