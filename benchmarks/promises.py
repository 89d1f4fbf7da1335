"""A promise: a bound, and where in the tables its figure is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.rounds import Measured
from benchmarks.run import Section

__all__ = [
    "OURS",
    "Figure",
    "Promise",
    "Sections",
    "Verdict",
    "failures",
    "judge_all",
    "median",
    "ratio",
    "row_of",
]

Sections = Mapping[str, Section]
#: Works a figure out from the tables; KeyError when they were not made.
Figure = Callable[[Sections], float]

#: How the names of rows of ours begin; the guide's commands go to the service on each database.
OURS: Final = ("ours", "the service", "SQLite", "PostgreSQL")


@dataclass(frozen=True, slots=True)
class Promise:
    """
    One bound.

    Attributes:
        line: The line of contract §7 that it belongs to.
        what: The figure, and its unit unless it has none.
        most: The bound, when the figure must not be above it.
        least: The bound, when it must not be below it.
        ratio: Whether it outlives the machine, and so decides `--check`.
    """

    line: str
    what: str
    figure: Figure
    most: float | None = None
    least: float | None = None
    ratio: bool = True

    def is_kept(self, value: float) -> bool:
        """Return whether *value* is within the bound; what is no number is not."""
        within = self.most is None or value <= self.most
        return within and (self.least is None or value >= self.least)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a promise; value is None when it was not measured."""

    promise: Promise
    value: float | None

    @property
    def kept(self) -> bool | None:
        """Whether it was kept, None if nobody knows."""
        return None if self.value is None else self.promise.is_kept(self.value)


def judge_all(promises: tuple[Promise, ...], sections: Sections) -> list[Verdict]:
    """Return a verdict for each promise, also for those nothing was measured for."""
    verdicts = []
    for promise in promises:
        try:
            value: float | None = promise.figure(sections)
        except KeyError:
            value = None
        verdicts.append(Verdict(promise, value))
    return verdicts


def row_of(section: str, row: str) -> Callable[[Sections], Measured]:
    """Return what finds *row* of the table *section*."""
    return lambda sections: sections[section].rows[row]


def median(section: str, row: str, quantity: str) -> Figure:
    """Return what finds the median of one cell."""
    return lambda sections: row_of(section, row)(sections).median(quantity)


def ratio(section: str, above: tuple[str, str], below: tuple[str, str]) -> Figure:
    """Return what divides one cell by another of the same table, each by its row and quantity."""

    def work_out(sections: Sections) -> float:
        return median(section, *above)(sections) / median(section, *below)(sections)

    return work_out


def failures(sections: Sections) -> float:
    """Return how many requests to ours failed, in all tables that count them."""
    counted = [
        row.most("failed")
        for section in sections.values()
        for name, row in section.rows.items()
        if name.startswith(OURS) and row.has("failed")
    ]
    if not counted:
        raise KeyError("failed")
    return sum(counted)
