"""One scrape: what all processes counted, what the system knows, and what the table promises."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from time import perf_counter_ns

from atom_platform.metrics.defaults import completed
from atom_platform.metrics.multiprocess.collector import Collector
from atom_platform.metrics.multiprocess.families import FamilySamples
from atom_platform.metrics.multiprocess.storage import STORAGE
from atom_platform.metrics.recording import count_problems

__all__ = ["Scrape"]

Source = Callable[[], Iterable[FamilySamples]]


class Scrape:
    """
    Collects for any number of scrapers at once.

    Who arrives during a collection waits for the next one, and shares it with all who waited: a
    result older than the request would make counters go backwards between two workers.

    Args:
        computed: Families that are worked out at the scrape.
    """

    def __init__(self, computed: Source = lambda: ()) -> None:
        self._collector = Collector()
        self._computed = computed
        self._lock = threading.Lock()
        self._started_at = -1
        self._result: list[FamilySamples] = []

    def families(self) -> list[FamilySamples]:
        """Return every family, sorted by name; treat it as frozen, others may hold it too."""
        arrived_at = perf_counter_ns()
        with self._lock:
            if self._started_at <= arrived_at:
                STORAGE.heartbeat()
                self._started_at = perf_counter_ns()
                self._result = completed([*self._collector.collect(), *self._computed()])
            result = self._result
        count_problems()
        return result
