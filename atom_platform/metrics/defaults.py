"""What the metric table promises before anything was counted: every family, and its known zeros."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from prometheus_client.utils import floatToGoString as go_text

from atom_platform.metrics.cells import family
from atom_platform.metrics.definitions import DEFINITIONS, Definition
from atom_platform.metrics.multiprocess.families import FamilySamples, Labels, Sample

__all__ = ["completed"]


def completed(families: Iterable[FamilySamples]) -> list[FamilySamples]:
    """
    Return *families* with what the metric table adds, sorted by name.

    A family of the table is there even without a sample, and a label set whose every value is known
    starts at 0: a ratio is then 0 and not absent, and the first event is an increase.
    """
    found = {each.name: each for each in families}
    for definition in DEFINITIONS:
        name = family(definition)
        known = found.setdefault(name, FamilySamples(name, definition.kind, definition.help))
        if known.kind != definition.kind or definition.computed:
            continue
        present = {sample.labels for sample in known.samples if not sample.name.endswith("_bucket")}
        zeros = [labels for labels in _known_label_sets(definition) if labels not in present]
        if zeros:
            known.samples = _sorted([*known.samples, *_zeros(definition, zeros)])
    return sorted(found.values(), key=lambda each: each.name)


def _known_label_sets(definition: Definition) -> list[Labels]:
    if any(label not in definition.values for label in definition.labels):
        return []
    return [
        tuple(sorted(zip(definition.labels, values, strict=True)))
        for values in product(*(definition.values[label] for label in definition.labels))
    ]


def _zeros(definition: Definition, label_sets: list[Labels]) -> list[Sample]:
    if definition.kind != "histogram":
        return [Sample(definition.name, labels, 0.0) for labels in label_sets]
    name = definition.name
    bounds = [*map(go_text, definition.buckets), "+Inf"]
    return [
        sample
        for labels in label_sets
        for sample in (
            *(Sample(f"{name}_bucket", (*labels, ("le", bound)), 0.0) for bound in bounds),
            Sample(f"{name}_count", labels, 0.0),
            Sample(f"{name}_sum", labels, 0.0),
        )
    ]


def _sorted(samples: list[Sample]) -> list[Sample]:
    # Stable, so that the samples of one label set of a histogram keep their order.
    return sorted(samples, key=lambda sample: [item for item in sample.labels if item[0] != "le"])
