"""What a scrape says, for those of our commands that read one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Exposed", "Samples"]

Key = tuple[str, tuple[tuple[str, str], ...]]


class Samples:
    """
    Samples, each by its name and its sorted labels.

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

    def since(self, earlier: Samples) -> Samples:
        """
        Return by how much each sample has grown since *earlier*.

        One that has shrunk began anew at nought, as Prometheus reckons, so nothing is negative.
        Gauges make no sense in what is returned.
        """
        before = earlier.values
        return Samples(
            {
                key: value - before.get(key, 0.0) if value >= before.get(key, 0.0) else value
                for key, value in self.values.items()
            }
        )


class Exposed(Samples):
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
