"""The cost of counting a request, by the number of label sets in the process."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.counting import counting_figures
from benchmarks.rounds import Contender
from benchmarks.run import Plan, Section

__all__ = ["counting"]


def counting(plan: Plan) -> Iterator[Section]:
    """One lookup among ten, a thousand and ten thousand."""
    sizes = (10, 1000) if plan.quick else (10, 1000, 10_000)
    contenders: dict[str, Contender] = {
        f"{sets:,} label sets": partial(counting_figures, sets) for sets in sizes
    }
    yield Section(
        "counting",
        "Counting one request, by label sets known",
        "python -m benchmarks.counting SETS",
        ("same_us", "in_turn_us", "first_us"),
        "in_turn_us",
        plan.measure(contenders, rounds=1 if plan.quick else 3),
    )
