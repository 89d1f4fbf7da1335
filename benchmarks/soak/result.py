"""The result of a soak, and its table."""

from __future__ import annotations

import statistics
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Soak", "table"]


@dataclass
class Soak:
    """
    The result of one soak.

    Attributes:
        answered: Requests that got their 200.
        lost: Sent, and cut off with their worker: such a one may have been counted or not.
        counted: What the service says, once it is quiet.
        blows: Signals sent, by name.
        lives: Worker processes that were started.
        other: What else became of a request: refused, or another status.
        scrape_errors: Answers to a scrape other than a 200 with samples.
        scrapes_cut_off: Scrapes whose own worker was killed.
        decreases: Samples of counters and histograms that went back or away between two scrapes of
            one scraper.
        first, last: Seconds of each scrape at rest, before and after.
        files, size_bytes: Of the metrics directory, before and after.
    """

    name: str
    answered: int = 0
    lost: int = 0
    other: Counter[str] = field(default_factory=Counter)
    counted: float = 0.0
    seconds: float = 0.0
    blows: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    scrapes: int = 0
    scrape_errors: list[str] = field(default_factory=list)
    scrapes_cut_off: int = 0
    decreases: list[str] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    files: tuple[int, int] = (0, 0)
    size_bytes: tuple[int, int] = (0, 0)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def exact(self) -> bool:
        return self.answered <= self.counted <= self.answered + self.lost


def table(results: Sequence[Soak]) -> str:
    """Return *results* side by side."""
    rows: list[tuple[str, ...]] = [
        ("", *(each.name for each in results)),
        ("---", *("---" for _ in results)),
        ("requests answered", *(f"{each.answered:,}" for each in results)),
        ("sent, and lost with a killed worker", *(f"{each.lost}" for each in results)),
        ("counted", *(f"{each.counted:,.0f}" for each in results)),
        (
            "answered ≤ counted ≤ answered + lost",
            *("yes" if each.exact else f"**off by {_off(each):+,.0f}**" for each in results),
        ),
        (
            "refused, or not a 200",
            *(f"{sum(each.other.values())}" for each in results),
        ),
        ("seconds", *(f"{each.seconds:.0f}" for each in results)),
        (
            "signals sent",
            *(", ".join(f"{n} {name}" for name, n in each.blows.items()) for each in results),
        ),
        ("workers that lived", *(f"{each.lives}" for each in results)),
        ("scrapes by two scrapers", *(f"{each.scrapes}" for each in results)),
        ("failed scrapes", *(f"{len(each.scrape_errors)}" for each in results)),
        ("scrapes cut off with their worker", *(f"{each.scrapes_cut_off}" for each in results)),
        ("decreases", *(f"{len(each.decreases)}" for each in results)),
        ("files, before → after", *(f"{a} → {b}" for a, b in (each.files for each in results))),
        (
            "directory, before → after",
            *(f"{a / 1024:,.0f} → {b / 1024:,.0f} KB" for a, b in (e.size_bytes for e in results)),
        ),
        (
            f"scrape at rest, median of {len(results[0].first)}, before → after",
            *(
                f"{1e3 * (first := statistics.median(each.first)):.1f} → "
                f"{1e3 * (last := statistics.median(each.last)):.1f} ms ({last / first:.1f} ×)"
                for each in results
            ),
        ),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _off(result: Soak) -> float:
    if result.counted < result.answered:
        return result.counted - result.answered
    return result.counted - result.answered - result.lost
