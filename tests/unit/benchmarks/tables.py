"""Tables with made-up figures, as sections make them."""

from __future__ import annotations

from benchmarks.rounds import Measured, Reading
from benchmarks.run import Section

__all__ = ["measured", "scrape_case", "section"]


def measured(**values: float) -> Measured:
    return Measured((Reading(values, foreign=0.0),), limit=0.1)


def section(name: str, rows: dict[str, Measured], *, chart: str = "") -> Section:
    quantities = sorted({each for row in rows.values() for each in row.readings[0].values})
    return Section(name, name.capitalize(), f"run {name}", tuple(quantities), chart, rows)


def scrape_case(workers: int, sets: int, recycled: int = 0, **values: float) -> Measured:
    return measured(workers=workers, sets=sets, recycled=recycled, **values)
