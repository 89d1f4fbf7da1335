"""The scrape beside stock's, along label sets, workers, and past workers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from benchmarks.population import LINES_PER_SET
from benchmarks.rounds import Measured, note
from benchmarks.run import Plan, Section
from benchmarks.scraping import scrape_figures

__all__ = ["row_name", "scrape"]

_STATES: Final = ("unchanged", "one_percent", "one_percent_spread", "all", "cold", "stock")
_TABLES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "scrape_text": (
        "Scrape, Prometheus text",
        (*(f"{state}_ms" for state in _STATES), "same_samples"),
    ),
    "scrape_openmetrics_gzip": (
        "Scrape, OpenMetrics and gzip, as Prometheus asks for it",
        tuple(f"{state}_openmetrics_gzip_ms" for state in _STATES),
    ),
    "scrape_sizes": (
        "What a process that scrapes keeps, and what the directory holds",
        ("kept_kib", "directory_kib", "stock_directory_kib"),
    ),
    "scrape_recycled": (
        "After recycled workers, over the fresh state",
        (
            *("recycled_warm_ratio", "recycled_cold_ratio"),
            *("recycled_directory_ratio", "recycled_counts_lost"),
        ),
    ),
}

#: The contract's own two.
_PROMISED: Final = ((8, 600, 0), (2, 20, 500))
_CURVES: Final = (
    # Along label sets …
    *((8, sets, 0) for sets in (20, 100, 2000, 10_000)),
    # … workers …
    *((workers, 600, 0) for workers in (1, 2, 4, 16)),
    # … workers that are gone …
    *((2, 100, recycled) for recycled in (0, 50, 500)),
    # … and up to where all three are large.
    *((16, sets, 500) for sets in (100, 1000, 10_000)),
)
#: Label sets times workers, alive and gone, up to which stock is run: it takes 3 to 4 s a scrape.
_STOCK_MOST: Final = 51_000


def scrape(plan: Plan) -> Iterator[Section]:
    """Give all tables after each case, so that a run cut short has the cases that it did."""
    rows: dict[str, Measured] = {}
    for workers, sets, recycled in (*_PROMISED, *(() if plan.quick else _CURVES)):
        name = row_name(workers, sets, recycled)
        note(f"  scrape: {name}")
        measure = partial(
            scrape_figures,
            workers=workers,
            sets=sets,
            recycled=recycled,
            stock_too=_is_for_stock(workers, sets, recycled),
        )
        promised = (workers, sets, recycled) in _PROMISED and not plan.quick
        rows |= plan.measure({name: measure}, rounds=3 if promised else 1)
        yield from _tables(rows)


def _is_for_stock(workers: int, sets: int, recycled: int) -> bool:
    if recycled and (workers, sets, recycled) in _PROMISED:
        return False  # what is promised there is a share of our own fresh state
    return sets * (workers + recycled) <= _STOCK_MOST


def row_name(workers: int, sets: int, recycled: int = 0) -> str:
    """Return the name of a case in its tables."""
    return f"{workers} × {sets:,}" + (f", {recycled} recycled" if recycled else "")


def _tables(rows: dict[str, Measured]) -> Iterator[Section]:
    for name, (title, quantities) in _TABLES.items():
        of_table = {row: each for row, each in rows.items() if each.has(quantities[0])}
        if of_table:
            yield Section(
                name,
                f"{title}: workers × label sets ({LINES_PER_SET} lines each)",
                "python -m benchmarks.scraping WORKERS SETS RECYCLED STOCK",
                quantities,
                "",
                of_table,
            )
