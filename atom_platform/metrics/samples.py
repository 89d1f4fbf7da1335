"""
Values of a scrape: families and samples, and the samples parsed from an exposition.
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

#: Name and value of each label, sorted by name.
Labels = tuple[tuple[str, str], ...]
#: The name of a family, then name and value of each label: sorts as labels do, takes less memory.
SeriesKey = tuple[str, ...]


def labels_of(series_key: SeriesKey) -> Labels:
    """Return the labels in *series_key*."""
    return tuple(zip(series_key[1::2], series_key[2::2], strict=True))


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One observation of a bucket and its trace. *timestamp* is in seconds since the Unix epoch."""

    trace_id: str
    value: float
    timestamp: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of an exposition."""

    name: str
    labels: Labels
    value: float
    exemplar: Exemplar | None = None


@dataclass(slots=True)
class FamilySamples:
    """
    One metric family.

    Attributes:
        name: As in prometheus_client: that of a counter has no `_total`.
        kind: counter, gauge, histogram or summary.
    """

    name: str
    kind: str
    help: str
    samples: list[Sample] = field(default_factory=list)


SampleKey = tuple[str, tuple[tuple[str, str], ...]]


class SampleSet:
    """
    Samples, each with its name and its sorted labels.

    Attributes:
        values: The samples.
    """

    def __init__(self, values: Mapping[SampleKey, float]) -> None:
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
        Return by how much each counter has grown since *earlier*.

        A counter that is smaller than before was reset to zero, as Prometheus assumes, so no result
        is negative. The results for gauges are meaningless.
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
        ValueError: The text is not in the Prometheus format.
    """

    def __init__(self, text: str) -> None:
        self.families: set[str] = set()
        self.per_family: Counter[str] = Counter()
        values: dict[SampleKey, float] = {}
        try:
            for family in text_string_to_metric_families(text):
                exposed = f"{family.name}_total" if family.type == "counter" else family.name
                self.families.add(exposed)
                for sample in family.samples:
                    self.per_family[exposed] += 1
                    values[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
        except (KeyError, IndexError) as error:  # what the parser raises for some invalid texts
            raise ValueError(f"no Prometheus text: {type(error).__name__}") from error
        super().__init__(values)
