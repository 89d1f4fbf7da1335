"""What a scrape shows: families of samples."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Exemplar", "FamilySamples", "Identity", "Labels", "Sample", "labels_of"]

#: Sorted by name.
Labels = tuple[tuple[str, str], ...]
#: A family's name, then name and value of each label: sorts as the labels do, and takes less room.
Identity = tuple[str, ...]


def labels_of(identity: Identity) -> Labels:
    """Return the labels that *identity* names."""
    return tuple(zip(identity[1::2], identity[2::2], strict=True))


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One observation of a bucket, and the trace it belongs to."""

    trace_id: str
    value: float
    timestamp: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One exposed line."""

    name: str
    labels: Labels
    value: float
    exemplar: Exemplar | None = None


@dataclass(slots=True)
class FamilySamples:
    """
    One metric family.

    Attributes:
        name: As prometheus_client knows it: a counter's has no `_total`.
        kind: counter, gauge, histogram or summary.
    """

    name: str
    kind: str
    help: str
    samples: list[Sample] = field(default_factory=list)
