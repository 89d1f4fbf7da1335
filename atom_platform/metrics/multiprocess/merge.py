"""
From the cells of many files to the samples of one service.

What a sum, a minimum or the latest of several processes is, is prometheus_client's to say: the
samples equal its MultiProcessCollector's to the last bit, for the same files in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.utils import floatToGoString as go_text

from atom_platform.metrics.multiprocess.families import Exemplar, FamilySamples, Labels, Sample
from atom_platform.metrics.multiprocess.format import Key

__all__ = ["Merge"]


class Merge:
    """Takes the cells of one file after the other; `families` gives what they come to."""

    def __init__(self) -> None:
        self._heads: dict[str, tuple[str, str]] = {}
        self._values: dict[str, dict[tuple[str, Labels], float]] = {}
        self._buckets: dict[str, dict[Labels, dict[float, float]]] = {}
        self._times: dict[tuple[str, str, Labels], float] = {}
        self._exemplars: dict[tuple[str, Labels, float], Exemplar] = {}

    def add(self, kind: str, writer: str, cells: Iterable[tuple[Key, float, float]]) -> None:
        """Take the cells of one file: key, value and timestamp of each."""
        metric_type, _, mode = kind.partition("_")
        mode = mode.removeprefix("live")
        for key, value, timestamp in cells:
            known, _ = self._heads.setdefault(key.family, (metric_type, key.help))
            if known != metric_type:
                continue  # two families of one name: the first is the one that is exposed
            values = self._values.setdefault(key.family, {})
            if metric_type == "gauge":
                self._add_gauge(values, mode, writer, key, value, timestamp)
            elif metric_type == "histogram" and key.bound is not None:
                labels = tuple(item for item in key.labels if item[0] != "le")
                buckets = self._buckets.setdefault(key.family, {}).setdefault(labels, {})
                buckets[key.bound] = buckets.get(key.bound, 0.0) + value
            else:
                place = key.sample, key.labels
                values[place] = values.get(place, 0.0) + value

    def add_exemplar(self, key: Key, exemplar: Exemplar) -> None:
        """Keep the latest exemplar of the bucket of *key*."""
        if key.bound is None:
            return
        labels = tuple(item for item in key.labels if item[0] != "le")
        place = key.family, labels, key.bound
        known = self._exemplars.get(place)
        if known is None or known.timestamp < exemplar.timestamp:
            self._exemplars[place] = exemplar

    def families(self) -> list[FamilySamples]:
        """Return the families, in no order."""
        return [self._family(name, *head) for name, head in self._heads.items()]

    def _add_gauge(
        self,
        values: dict[tuple[str, Labels], float],
        mode: str,
        writer: str,
        key: Key,
        value: float,
        timestamp: float,
    ) -> None:
        place = key.sample, key.labels
        if mode == "all":
            values[key.sample, (*key.labels, ("pid", writer))] = value
        elif mode == "sum":
            values[place] = values.get(place, 0.0) + value
        elif mode == "mostrecent":
            # Never set has the time 0 and is not exposed.
            at = key.family, key.sample, key.labels
            if self._times.get(at, 0.0) < timestamp:
                self._times[at] = timestamp
                values[place] = value
        else:
            known = values.setdefault(place, value)
            if value < known if mode == "min" else value > known:
                values[place] = value

    def _family(self, name: str, metric_type: str, help_text: str) -> FamilySamples:
        values = self._values.get(name, {})
        by_labels: dict[Labels, list[Sample]] = {}
        for labels, buckets in self._buckets.get(name, {}).items():
            total = 0.0
            samples = by_labels.setdefault(labels, [])
            for bound, value in sorted(buckets.items()):
                total += value
                le = ("le", go_text(bound))  # type: ignore[no-untyped-call]
                exemplar = self._exemplars.get((name, labels, bound))
                samples.append(Sample(f"{name}_bucket", (*labels, le), total, exemplar))
            # Counted from the buckets, so that the two never disagree.
            samples.append(Sample(f"{name}_count", labels, total))
            values.pop((f"{name}_count", labels), None)
        for (sample, labels), value in values.items():
            by_labels.setdefault(labels, []).append(Sample(sample, labels, value))
        return FamilySamples(
            name,
            metric_type,
            help_text,
            [sample for _, samples in sorted(by_labels.items()) for sample in samples],
        )
