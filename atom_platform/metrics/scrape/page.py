"""
One scrape: what all processes counted, what the system knows, and what the table promises.

What `/health/metrics` shows, whoever sends it: the route, or the server by itself.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from time import perf_counter, perf_counter_ns, sleep
from typing import Final

from atom_platform.forking import at_fork
from atom_platform.metrics.defaults import completed_gauges, seed
from atom_platform.metrics.definitions import METRICS_COLLECT_DURATION
from atom_platform.metrics.process_metrics import ProcessMetrics
from atom_platform.metrics.recording import HistogramFamily, count_problems
from atom_platform.metrics.samples import FamilySamples
from atom_platform.metrics.scrape.collector import Collector, MetricsSnapshot
from atom_platform.metrics.scrape.exposition import Exposition, ExpositionFormat, render
from atom_platform.metrics.scrape.gzip_cache import GzipCache
from atom_platform.metrics.storage.storage import STORAGE

__all__ = ["NO_CACHE_HEADERS", "MetricsPage", "SharedScrape"]

_MOVING_POLL_SECONDS: Final = 0.02


class SharedScrape:
    """
    Collects for any number of scrapers at once.

    Who arrives during a collection waits for the next one, and shares it with all who waited: a
    result older than the request would make counters go backwards between two workers.

    Args:
        computed: Returns the families that are worked out at the scrape.
        clock: Tells what was before what.
    """

    def __init__(
        self,
        computed: Callable[[], Iterable[FamilySamples]] = lambda: (),
        *,
        clock: Callable[[], int] = perf_counter_ns,
    ) -> None:
        self._computed = computed
        self._clock = clock
        self._lock = threading.Lock()
        self._started_at = -1
        self._collector: Collector | None = None
        self._collection: MetricsSnapshot | None = None
        self._answers: dict[ExpositionFormat, Exposition] = {}
        self._gzip = GzipCache()
        _scrapes.add(self)

    def answer(self, wanted: ExpositionFormat) -> Exposition:
        """Return everything in the format *wanted*."""
        return self.answers([wanted])[wanted]

    def answers(self, wanted: Iterable[ExpositionFormat]) -> dict[ExpositionFormat, Exposition]:
        """Return everything in each of the formats *wanted*, all of one collection."""
        arrived_at = self._clock()
        STORAGE.heartbeat()
        while STORAGE.is_moving():
            sleep(_MOVING_POLL_SECONDS)  # the directory was deleted: let the others come along
        with self._lock:
            if self._collection is None or self._started_at <= arrived_at:
                self._started_at = self._clock()
                self._collection = self._collected()
                self._answers.clear()
            for each in wanted:
                if each not in self._answers:
                    self._answers[each] = render(self._collection, each, self._gzip)
            answers = self._answers.copy()
        count_problems()
        return answers

    def _collected(self) -> MetricsSnapshot:
        self._collector = self._collector or Collector(seed=seed)
        collection = self._collector.collect()
        computed = list(self._computed())
        known = {each.name for each in computed}
        gauges = [each for each in collection.gauges if each.name not in known]
        return replace(collection, gauges=completed_gauges([*computed, *gauges]))

    def _restart(self) -> None:
        """Begin with nothing kept, and with a lock that no thread of a parent process holds."""
        self._lock = threading.Lock()
        self._started_at = -1
        self._collector = self._collection = None
        self._answers = {}
        self._gzip = GzipCache()


#: Weak, and one hook for all: what is registered at the interpreter stays, and an application of a
#: test would leave all that it had collected behind.
_scrapes: Final[weakref.WeakSet[SharedScrape]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for scrape in list(_scrapes):
        scrape._restart()


at_fork("scrape", after_in_child=_after_fork_in_child)


#: Headers of every answer, after those of its content.
NO_CACHE_HEADERS: Final = (("Cache-Control", "no-store"), ("Vary", "Accept, Accept-Encoding"))


class MetricsPage:
    """
    One for a process.

    Args:
        on_scrape: Told that somebody is watching; must return at once.
    """

    def __init__(self, *, on_scrape: Callable[[], None] = lambda: None) -> None:
        self._on_scrape = on_scrape
        self._scrape = SharedScrape(ProcessMetrics().families)
        self._durations = HistogramFamily(METRICS_COLLECT_DURATION)

    def answer(self, wanted: ExpositionFormat) -> Exposition:
        """Return everything as *wanted* by one request, and note how long that took."""
        return self.answers([wanted])[wanted]

    def answers(self, wanted: Iterable[ExpositionFormat]) -> dict[ExpositionFormat, Exposition]:
        """
        Likewise for several requests at once, which share what is collected after this call.

        An exposition without a body is an error.
        """
        started_at = perf_counter()
        self._on_scrape()
        wanted = list(wanted)
        answers = self._scrape.answers(wanted)
        took = perf_counter() - started_at
        for _ in wanted:
            self._durations.observe(took)
        return answers
