"""What `/health/metrics` shows, whoever sends it: the route, or the server by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Final

from atom_platform.metrics.catalog import METRICS_COLLECT_DURATION
from atom_platform.metrics.exposition import Exposition, Format
from atom_platform.metrics.families import HistogramFamily
from atom_platform.metrics.processes import Processes
from atom_platform.metrics.scrape import Scrape

__all__ = ["UNCACHED", "MetricsPage"]

#: Headers of every answer, after those of its content.
UNCACHED: Final = (("Cache-Control", "no-store"), ("Vary", "Accept, Accept-Encoding"))


class MetricsPage:
    """
    One for a process.

    Args:
        on_scrape: Told that somebody is watching; must return at once.
    """

    def __init__(self, *, on_scrape: Callable[[], None] = lambda: None) -> None:
        self._on_scrape = on_scrape
        self._scrape = Scrape(Processes().families)
        self._durations = HistogramFamily(METRICS_COLLECT_DURATION)

    def answer(self, wanted: Format) -> Exposition:
        """Return everything as *wanted* by one request, and note how long that took."""
        return self.answers([wanted])[wanted]

    def answers(self, wanted: Iterable[Format]) -> dict[Format, Exposition]:
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
