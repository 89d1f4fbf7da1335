"""The memory and disk space of a label set, from the cases of the scrape."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Final

from benchmarks.laws import straight
from benchmarks.rounds import Measured
from benchmarks.run import Section

__all__ = ["footprint"]

#: Below it, the fixed memory of a process is a part of the figure.
_LEAST_SETS: Final = 600


def footprint(sections: Mapping[str, Section]) -> dict[str, float]:
    """
    Return KiB by purpose; empty unless cases differ in workers.

    A process that scrapes keeps, for each label set, a part that is its text and a part for each
    worker's numbers: intercept and slope of the straight line through KiB a label set, by workers.
    """
    table = sections.get("scrape_sizes")
    rows = [row for row in table.rows.values() if _counts(row)] if table else []
    if len({row.median("workers") for row in rows}) < 3:
        return {}
    kept = [(row.median("workers"), row.median("kept_kib") / row.median("sets")) for row in rows]
    for_text, for_worker = straight(kept)
    found = {
        "kept by a process that scrapes, a label set": for_text,
        "and more, a label set and worker": for_worker,
        "directory, a label set and worker": _a_cell(rows, "directory_kib"),
    }
    stock = [row for row in rows if row.has("stock_directory_kib")]
    if stock:
        found["stock's directory, a label set and worker"] = _a_cell(stock, "stock_directory_kib")
    return found


def _counts(row: Measured) -> bool:
    return row.median("sets") >= _LEAST_SETS and row.median("recycled") == 0


def _a_cell(rows: list[Measured], quantity: str) -> float:
    return statistics.median(
        row.median(quantity) / row.median("workers") / row.median("sets") for row in rows
    )
