"""Scrapers that hold a service to what a counter is, whatever happens to its workers meanwhile."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.support.load import Load
from tests.support.polling import wait_until
from tests.support.service import Service
from tests.support.stalls import scaled

__all__ = ["OPENMETRICS", "Scrapes", "families", "lost", "scraping"]

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

Series = tuple[str, frozenset[tuple[str, str]]]


@dataclass
class Scrapes:
    """
    What the scrapers got.

    Attributes:
        seconds: How long each good scrape took.
        failed: Answers that were not a 200 in a format that its strict parser takes.
        cut_off: Scrapes whose connection ended: their own worker was killed.
        decreases: Every counter or bucket that was less than the same scraper had seen before, or
            absent after it had been there.
    """

    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    cut_off: list[str] = field(default_factory=list)
    decreases: list[str] = field(default_factory=list)

    def assert_true(self) -> None:
        """Fail unless all scrapes were good, and nothing went back."""
        assert self.failed == []
        assert self.decreases == []


def families(service: Service, *, strictly: bool) -> list[Metric]:
    """
    Scrape, and return the families.

    Args:
        strictly: As OpenMetrics, whose parser refuses what the format does.

    Raises:
        ValueError: The answer is no exposition.
    """
    headers = {"Accept": OPENMETRICS} if strictly else {}
    answer = service.get("/health/metrics", headers=headers)
    if answer.status != 200 or not answer.body:
        raise ValueError(f"{answer.status}, {len(answer.body)} bytes")
    parse: Callable[[str], Iterable[Metric]] = (
        openmetrics.text_string_to_metric_families if strictly else text_string_to_metric_families
    )
    return list(parse(answer.body.decode()))


def lost(load: Load) -> int:
    """Return how many requests were sent and not answered: they may have been counted or not."""
    return sum(times for failure, times in load.failures.items() if failure != "refused")


def _growing(found: Iterable[Metric]) -> dict[Series, float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in found
        if family.type in ("counter", "histogram")
        for sample in family.samples
    }


def _scrape_on(service: Service, scrapes: Scrapes, over: threading.Event) -> None:
    seen: dict[Series, float] = {}
    strictly = False
    while not over.wait(0.05):
        strictly = not strictly
        began = time.monotonic()
        try:
            found = families(service, strictly=strictly)
        except (OSError, http.client.HTTPException) as error:
            scrapes.cut_off.append(repr(error))
            continue
        except ValueError as error:
            scrapes.failed.append(repr(error))
            continue
        scrapes.seconds.append(time.monotonic() - began)
        now = _growing(found)
        for series, value in seen.items():
            if now.get(series, -1.0) < value:
                scrapes.decreases.append(f"{series}: {value} → {now.get(series)}")
        seen = now


@contextmanager
def scraping(service: Service, *, scrapers: int = 2) -> Iterator[Scrapes]:
    """
    Scrape from *scrapers* threads, each every 50 ms, in both formats by turns.

    Ends after five good scrapes at the earliest, however slow the machine is.
    """
    scrapes, over = Scrapes(), threading.Event()
    threads = [
        threading.Thread(target=_scrape_on, args=(service, scrapes, over), daemon=True)
        for _ in range(scrapers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield scrapes
        wait_until(lambda: len(scrapes.seconds) >= 5 or scrapes.failed)
    finally:
        over.set()
        for thread in threads:
            thread.join(scaled(30))
