"""What a scrape says, for those of our commands that read one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Samples"]

Key = tuple[str, tuple[tuple[str, str], ...]]


class Samples:
    """
    The samples of one exposition.

    Attributes:
        families: Their names as exposed: a counter's with `_total`.
        values: Each sample by its name and its sorted labels.
        per_family: The number of samples of each family.

    Raises:
        ValueError: It is no Prometheus text.
    """

    def __init__(self, text: str) -> None:
        self.families: set[str] = set()
        self.values: dict[Key, float] = {}
        self.per_family: Counter[str] = Counter()
        try:
            self._read(text)
        except (KeyError, IndexError) as error:  # what the parser raises for some nonsense
            raise ValueError(f"no Prometheus text: {type(error).__name__}") from error

    def _read(self, text: str) -> None:
        for family in text_string_to_metric_families(text):
            exposed = f"{family.name}_total" if family.type == "counter" else family.name
            self.families.add(exposed)
            for sample in family.samples:
                self.per_family[exposed] += 1
                self.values[sample.name, tuple(sorted(sample.labels.items()))] = sample.value

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
