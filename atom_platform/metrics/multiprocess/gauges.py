"""
From the gauges of many processes to the samples of one service.

What their minimum, sum or latest is, is prometheus_client's to say: the samples equal those of its
MultiProcessCollector for the same files in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable

from atom_platform.metrics.multiprocess.families import FamilySamples, Labels, Sample
from atom_platform.metrics.multiprocess.format import Key

__all__ = ["Gauges"]


class Gauges:
    """Takes the cells of one file after the other; `families` gives what they come to."""

    def __init__(self) -> None:
        self._help: dict[str, str] = {}
        self._values: dict[str, dict[tuple[str, Labels], float]] = {}
        self._times: dict[tuple[str, str, Labels], float] = {}

    def add(self, kind: str, writer: str, cells: Iterable[tuple[Key, float, float]]) -> None:
        """
        Take the cells of one file.

        Args:
            kind: `gauge_` and the mode.
            writer: Which process wrote it.
            cells: Key, value and timestamp of each.
        """
        mode = kind.removeprefix("gauge_").removeprefix("live")
        for key, value, timestamp in cells:
            self._help.setdefault(key.family, key.help)
            values = self._values.setdefault(key.family, {})
            place = key.sample, key.labels
            if mode == "all":
                values[key.sample, (*key.labels, ("pid", writer))] = value
            elif mode == "sum":
                values[place] = values.get(place, 0.0) + value
            elif mode == "mostrecent":
                # One that was never set has the time 0, and is not exposed.
                at = key.family, key.sample, key.labels
                if self._times.get(at, 0.0) < timestamp:
                    self._times[at] = timestamp
                    values[place] = value
            else:
                known = values.setdefault(place, value)
                if value < known if mode == "min" else value > known:
                    values[place] = value

    def families(self) -> list[FamilySamples]:
        """Return the families, in no order."""
        return [
            FamilySamples(
                name,
                "gauge",
                self._help[name],
                [Sample(*place, value) for place, value in sorted(values.items())],
            )
            for name, values in self._values.items()
        ]
