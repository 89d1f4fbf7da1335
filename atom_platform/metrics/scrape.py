"""One scrape: what all processes counted, what the system knows, and what the table promises."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from time import perf_counter_ns, sleep
from typing import Final

from atom_platform.forking import at_fork
from atom_platform.metrics.defaults import completed_gauges, seed
from atom_platform.metrics.exposition import Exposition, Format, expose
from atom_platform.metrics.gzipped import Gzip
from atom_platform.metrics.multiprocess.collection import Collection
from atom_platform.metrics.multiprocess.collector import Collector
from atom_platform.metrics.multiprocess.families import FamilySamples
from atom_platform.metrics.multiprocess.storage import STORAGE
from atom_platform.metrics.recording import count_problems

__all__ = ["Scrape"]

_MOVING_POLL_SECONDS: Final = 0.02


class Scrape:
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
        self._collection: Collection | None = None
        self._answers: dict[Format, Exposition] = {}
        self._gzip = Gzip()
        _scrapes.add(self)

    def answer(self, wanted: Format) -> Exposition:
        """Return everything in the format *wanted*."""
        return self.answers([wanted])[wanted]

    def answers(self, wanted: Iterable[Format]) -> dict[Format, Exposition]:
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
                    self._answers[each] = expose(self._collection, each, self._gzip)
            answers = self._answers.copy()
        count_problems()
        return answers

    def _collected(self) -> Collection:
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
        self._gzip = Gzip()


#: Weak, and one hook for all: what is registered at the interpreter stays, and an application of a
#: test would leave all that it had collected behind.
_scrapes: Final[weakref.WeakSet[Scrape]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for scrape in list(_scrapes):
        scrape._restart()


at_fork("scrape", after_in_child=_after_fork_in_child)
