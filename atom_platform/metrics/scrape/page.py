"""
The metrics page: collects, completes and renders the metrics for any number of scrapers.

`/health/metrics` shows it, whether the Flask route or the scrape thread of our worker answers.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from time import perf_counter, perf_counter_ns, sleep
from typing import Final

from atom_platform.forking import at_fork
from atom_platform.metrics.catalog import METRICS_COLLECT_DURATION
from atom_platform.metrics.families import HistogramFamily, report_problems
from atom_platform.metrics.initial_series import add_initial_series, with_missing_gauges
from atom_platform.metrics.process_metrics import ProcessMetrics
from atom_platform.metrics.samples import FamilySamples
from atom_platform.metrics.scrape.collector import Collector, MetricsSnapshot
from atom_platform.metrics.scrape.exposition import Exposition, ExpositionFormat, render
from atom_platform.metrics.scrape.gzip_cache import GzipCache
from atom_platform.metrics.storage.storage import STORAGE

__all__ = ["NO_CACHE_HEADERS", "MetricsPage", "SharedScrape"]

_MOVING_POLL_SECONDS: Final = 0.02


class SharedScrape:
    """
    Shares one collection between all scrapers that wait for it.

    A scraper that arrives during a collection waits for the next one. A result older than the
    request would let counters go back when scrapes alternate between two workers.

    Args:
        computed: Returns the families that are computed at each scrape.
        clock: A monotonic clock, in nanoseconds.
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
        """Return all metrics in the format *wanted*."""
        return self.answers([wanted])[wanted]

    def answers(self, wanted: Iterable[ExpositionFormat]) -> dict[ExpositionFormat, Exposition]:
        """Return all metrics in each of the formats *wanted*, from one collection."""
        arrived_at = self._clock()
        STORAGE.heartbeat()
        while STORAGE.is_moving():
            sleep(_MOVING_POLL_SECONDS)  # the directory was deleted: other processes still move
        with self._lock:
            if self._collection is None or self._started_at <= arrived_at:
                self._started_at = self._clock()
                self._collection = self._collected()
                self._answers.clear()
            for each in wanted:
                if each not in self._answers:
                    self._answers[each] = render(self._collection, each, self._gzip)
            answers = self._answers.copy()
        report_problems()
        return answers

    def _collected(self) -> MetricsSnapshot:
        """Collect, and add computed families and gauges that were never set."""
        self._collector = self._collector or Collector(seed=add_initial_series)
        collection = self._collector.collect()
        computed = list(self._computed())
        known = {each.name for each in computed}
        gauges = [each for each in collection.gauges if each.name not in known]
        return replace(collection, gauges=with_missing_gauges([*computed, *gauges]))

    def _restart(self) -> None:
        """Forget everything, and the lock, which a thread of the parent process may hold."""
        self._lock = threading.Lock()
        self._started_at = -1
        self._collector = self._collection = None
        self._answers = {}
        self._gzip = GzipCache()


#: Weak references and one fork hook for all: a hook cannot be unregistered, and would keep every
#: application that a test creates alive.
_scrapes: Final[weakref.WeakSet[SharedScrape]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for scrape in list(_scrapes):
        scrape._restart()


at_fork("scrape", after_in_child=_after_fork_in_child)


#: Headers of every response, after those of its content.
NO_CACHE_HEADERS: Final = (("Cache-Control", "no-store"), ("Vary", "Accept, Accept-Encoding"))


class MetricsPage:
    """
    The metrics page of a process.

    Args:
        on_scrape: Called at each scrape. It must return at once.
    """

    def __init__(self, *, on_scrape: Callable[[], None] = lambda: None) -> None:
        self._on_scrape = on_scrape
        self._scrape = SharedScrape(ProcessMetrics().families)
        self._durations = HistogramFamily(METRICS_COLLECT_DURATION)

    def answer(self, wanted: ExpositionFormat) -> Exposition:
        """Return all metrics in the format *wanted*, and record how long that took."""
        return self.answers([wanted])[wanted]

    def answers(self, wanted: Iterable[ExpositionFormat]) -> dict[ExpositionFormat, Exposition]:
        """
        Return all metrics in each of the formats *wanted*, from one collection.

        An exposition with an empty body is an error.
        """
        started_at = perf_counter()
        self._on_scrape()
        wanted = list(wanted)
        answers = self._scrape.answers(wanted)
        took = perf_counter() - started_at
        for _ in wanted:
            self._durations.observe(took)
        return answers
