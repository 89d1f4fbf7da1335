"""
What a scrape shows: families of samples.

What a scrape says, for those of our commands that read one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

__all__ = [
    "Exemplar",
    "FamilySamples",
    "Labels",
    "ParsedExposition",
    "Sample",
    "SampleSet",
    "SeriesKey",
    "labels_of",
]

#: Sorted by name.
Labels = tuple[tuple[str, str], ...]
#: A family's name, then name and value of each label: sorts as the labels do, and takes less room.
SeriesKey = tuple[str, ...]


def labels_of(series_key: SeriesKey) -> Labels:
    """Return the labels that *series_key* names."""
    return tuple(zip(series_key[1::2], series_key[2::2], strict=True))


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


Key = tuple[str, tuple[tuple[str, str], ...]]


class SampleSet:
    """
    SampleSet, each by its name and its sorted labels.

    Attributes:
        values: The samples.
    """

    def __init__(self, values: Mapping[Key, float]) -> None:
        self.values = values

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of the samples *name* that have all of *labels*; 0 when there is none."""
        return sum(self.by((), name, **labels).values())

    def by(
        self, kept: tuple[str, ...], name: str, **labels: str
    ) -> Mapping[tuple[str, ...], float]:
        """Return sums of the samples *name* that have all of *labels*, by the labels *kept*."""
        wanted = labels.items()
        sums: defaultdict[tuple[str, ...], float] = defaultdict(float)
        for (each, pairs), value in self.values.items():
            if each == name:
                its = dict(pairs)
                if wanted <= its.items():
                    sums[tuple(its.get(label, "") for label in kept)] += value
        return sums

    def since(self, earlier: SampleSet) -> SampleSet:
        """
        Return by how much each sample has grown since *earlier*.

        One that has shrunk began anew at nought, as Prometheus reckons, so nothing is negative.
        MergedGauges make no sense in what is returned.
        """
        before = earlier.values
        return SampleSet(
            {
                key: value - before.get(key, 0.0) if value >= before.get(key, 0.0) else value
                for key, value in self.values.items()
            }
        )


class ParsedExposition(SampleSet):
    """
    The samples of one exposition.

    Attributes:
        families: Their names as exposed: a counter's with `_total`.
        per_family: The number of samples of each family.

    Raises:
        ValueError: It is no Prometheus text.
    """

    def __init__(self, text: str) -> None:
        self.families: set[str] = set()
        self.per_family: Counter[str] = Counter()
        values: dict[Key, float] = {}
        try:
            for family in text_string_to_metric_families(text):
                exposed = f"{family.name}_total" if family.type == "counter" else family.name
                self.families.add(exposed)
                for sample in family.samples:
                    self.per_family[exposed] += 1
                    values[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
        except (KeyError, IndexError) as error:  # what the parser raises for some nonsense
            raise ValueError(f"no Prometheus text: {type(error).__name__}") from error
        super().__init__(values)
