"""A directory of metrics before and after many workers have come and gone in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from atom_platform.metrics.scrape.exposition import negotiate
from benchmarks.clock import timed_ms
from benchmarks.population import recycle
from benchmarks.stock import directory_kib

if TYPE_CHECKING:
    from atom_platform.metrics.scrape.page import SharedScrape
    from benchmarks.population import Population

__all__ = ["recycling_figures"]

#: What each of them counts once.
_COUNTED: Final = 'bench_requests_total{endpoint="/api/v1/things/0/<thing_id>",method="GET"} '
#: Label sets that a recycled worker has at most. One that attaches to 10,000 takes half a second,
#: and five hundred of them would take the time of the whole run.
_OF_A_LIFE: Final = 100
_TURNS: Final = 40
_TURN_MS: Final = 1500.0


def recycling_figures(
    directory: Path,
    fresh: Callable[[], SharedScrape],
    population: Population,
    *,
    sets: int,
    lives: int,
) -> dict[str, float]:
    """
    Compare the directory as it is with that after *lives* workers more, one after the other.

    They take the slot of the last worker, which makes way for them and is back in the end. Where
    it has more label sets than a recycled worker may have, they take a slot of their own, and the
    directory is compared with that after the first of them.
    """
    fresh().answer(negotiate())  # who scrapes takes a slot: now, not between before and after
    in_the_last_ones_slot = sets <= _OF_A_LIFE
    if not in_the_last_ones_slot:
        recycle(_OF_A_LIFE, lives=1, counts=[0])
    before = _state(directory, fresh)
    if in_the_last_ones_slot:
        population.retire()
    recycle(min(sets, _OF_A_LIFE), lives=lives, counts=[0])
    after = _state(directory, fresh)
    if in_the_last_ones_slot:
        population.hire()
    return {
        **{f"recycled_{name}_ratio": after[name] / before[name] for name in _RATIOS},
        "recycled_counts_lost": lives - (after["count"] - before["count"]),
    }


_RATIOS: Final = ("cold", "warm", "directory")


def _state(directory: Path, fresh: Callable[[], SharedScrape]) -> dict[str, float]:
    text = negotiate()
    cold = min(timed_ms(lambda: fresh().answer(text)) for _ in range(5))
    scrape = fresh()
    answer = scrape.answer(text)
    # Before and after cannot take turns, so each is in units of a loop that does: on a shared
    # machine that loop alone was seen to differ by 1.6 times from minute to minute.
    once = timed_ms(lambda: scrape.answer(text))
    turns = max(5, min(_TURNS, int(_TURN_MS / once)))
    pairs = [(timed_ms(lambda: scrape.answer(text)), timed_ms(_control)) for _ in range(turns)]
    unit = min(loop for _, loop in pairs)
    lines = answer.body.decode().splitlines()
    (line,) = [each for each in lines if each.startswith(_COUNTED)]
    return {
        "cold": cold / unit,
        "warm": min(taken for taken, _ in pairs) / unit,
        "directory": directory_kib(directory),
        "count": float(line.rpartition(" ")[2]),
    }


def _control() -> int:
    return sum(number & 7 for number in range(20_000))
