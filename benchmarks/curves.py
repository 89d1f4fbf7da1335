"""The curves of a run: the cost of a scrape and of a request, along one size at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.laws import Point, fit
from benchmarks.rounds import Measured
from benchmarks.run import Section

__all__ = ["Curve", "Line", "curves"]


@dataclass(frozen=True, slots=True)
class Line:
    """
    Points of one cost, in order of size.

    Attributes:
        measured: False for a point that is extrapolated from the measured ones.
    """

    name: str
    points: tuple[Point, ...]
    measured: bool = True


@dataclass(frozen=True, slots=True)
class Curve:
    """
    One chart.

    Attributes:
        what: The cost; its table of laws has a column for each of *cases*.
        cases: The values that all of its points share.
        x: The quantity of the horizontal axis.
        y: The unit of the vertical one.
    """

    name: str
    what: str
    cases: str
    x: str
    y: str
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """What it shows, and of which cases."""
        return f"{self.what}: {self.cases}" if self.cases else self.what


@dataclass(frozen=True, slots=True)
class _Axis:
    """Which cases lie on it, and where."""

    label: str
    cases: str
    lies: Callable[[Measured], bool]
    size: Callable[[Measured], float]


def _case(row: Measured) -> tuple[float, float, float]:
    return row.median("workers"), row.median("sets"), row.median("recycled")


_AXES: Final[Mapping[str, _Axis]] = {
    "sets": _Axis(
        "label sets",
        "8 workers",
        lambda row: _case(row)[::2] == (8, 0),
        lambda row: row.median("sets"),
    ),
    "workers": _Axis(
        "workers",
        "600 label sets",
        lambda row: _case(row)[1:] == (600, 0),
        lambda row: row.median("workers"),
    ),
    "recycled": _Axis(
        "workers that ever lived, 2 of them alive",
        "100 label sets",
        lambda row: _case(row)[:2] == (2, 100),
        lambda row: row.median("workers") + row.median("recycled"),
    ),
    "sets_at_most": _Axis(
        "label sets",
        "16 workers, 500 recycled before",
        lambda row: _case(row)[::2] == (16, 500),
        lambda row: row.median("sets"),
    ),
}

_STATES: Final = {
    "ours, cold": "cold",
    "ours, all changed": "all",
    "ours, 1 % changed": "one_percent",
    "ours, unchanged": "unchanged",
    "stock": "stock",
}
#: Table, what it shows, unit, and the quantity of each line.
_COSTS: Final[Mapping[str, tuple[str, str, Mapping[str, str]]]] = {
    "scrape_text": (
        "Scrape, text",
        "CPU ms",
        {line: f"{state}_ms" for line, state in _STATES.items()},
    ),
    "scrape_openmetrics_gzip": (
        "Scrape, OpenMetrics and gzip",
        "CPU ms",
        {line: f"{state}_openmetrics_gzip_ms" for line, state in _STATES.items()},
    ),
    "scrape_sizes": (
        "Memory and directory",
        "KiB",
        {
            "ours, kept by who scrapes": "kept_kib",
            "ours, directory": "directory_kib",
            "stock, directory": "stock_directory_kib",
        },
    ),
}


def curves(sections: Mapping[str, Section]) -> list[Curve]:
    """Return those whose table has three sizes or more."""
    found = []
    for table, (what, unit, quantities) in _COSTS.items():
        for axis_name, axis in _AXES.items():
            if table not in sections:
                continue
            rows = [row for row in sections[table].rows.values() if axis.lies(row)]
            lines = tuple(_lines(rows, axis.size, quantities))
            found.append(
                Curve(f"{table}_by_{axis_name}", what, axis.cases, axis.label, unit, lines)
            )
    if "counting" in sections:
        quantities = {"all in turn": "in_turn_us", "one again and again": "same_us"}
        lines = tuple(
            _lines(list(sections["counting"].rows.values()), lambda r: r.median("sets"), quantities)
        )
        found.append(
            Curve("counting_by_sets", "Counting one request", "", "label sets", "CPU µs", lines)
        )
    return [each for each in found if any(len(line.points) > 2 for line in each.lines)]


def _lines(
    rows: list[Measured], size: Callable[[Measured], float], quantities: Mapping[str, str]
) -> Iterator[Line]:
    largest = max((size(row) for row in rows), default=0.0)
    for name, quantity in quantities.items():
        points = sorted((size(row), row.median(quantity)) for row in rows if row.has(quantity))
        if not points:
            continue
        yield Line(name, tuple(points))
        if len(points) > 2 and points[-1][0] < largest:
            beyond = largest, fit(points).at(largest)
            yield Line(f"{name}, extrapolated", (points[-1], beyond), measured=False)
