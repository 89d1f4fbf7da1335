"""Contract §7, line by line: what is promised, and which figures say whether it is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.rounds import Measured
from benchmarks.run import Section

__all__ = ["PROMISES", "Promise", "Verdict", "judge"]

Sections = Mapping[str, Section]


@dataclass(frozen=True, slots=True)
class Promise:
    """
    One bound.

    Attributes:
        figure: Works it out from the tables; KeyError when they were not made.
        most: The bound, when the figure must not be above it.
        least: The bound, when it must not be below it.
        ratio: Whether it outlives the machine, and so decides `--check`.
    """

    what: str
    figure: Callable[[Sections], float]
    most: float | None = None
    least: float | None = None
    ratio: bool = True

    def is_kept(self, value: float) -> bool:
        """Return whether *value* is within the bound."""
        above = self.most is not None and value > self.most
        below = self.least is not None and value < self.least
        return not above and not below


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a promise; value is None when it was not measured."""

    promise: Promise
    value: float | None

    @property
    def kept(self) -> bool | None:
        """Whether it was kept, None if nobody knows."""
        return None if self.value is None else self.promise.is_kept(self.value)


def judge(sections: Sections) -> list[Verdict]:
    """Return a verdict for each promise, also for those nothing was measured for."""
    verdicts = []
    for promise in PROMISES:
        try:
            value: float | None = promise.figure(sections)
        except KeyError:
            value = None
        verdicts.append(Verdict(promise, value))
    return verdicts


def _row(section: str, row: str | None = None) -> Callable[[Sections], Measured]:
    def find(sections: Sections) -> Measured:
        rows = sections[section].rows
        return next(iter(rows.values())) if row is None else rows[row]

    return find


def _median(section: str, row: str | None, quantity: str) -> Callable[[Sections], float]:
    return lambda sections: _row(section, row)(sections).median(quantity)


def _ratio(
    section: str, above: tuple[str | None, str], below: tuple[str | None, str]
) -> Callable[[Sections], float]:
    def work_out(sections: Sections) -> float:
        over = _row(section, above[0])(sections).median(above[1])
        return over / _row(section, below[0])(sections).median(below[1])

    return work_out


def _over_bare(row: str) -> Callable[[Sections], float]:
    return _median("in_process", row, "over_bare_us")


def _per_textbook(row: str) -> Callable[[Sections], float]:
    return _ratio("in_process", (row, "over_bare_percent"), ("textbook", "over_bare_percent"))


def _worst(quantity: str, *names: str) -> Callable[[Sections], float]:
    return lambda sections: max(
        row.median(quantity) for name in names for row in sections[name].rows.values()
    )


_SCRAPE: Final = "scrape_8x600"
_STOCK_MS: Final = 317.0


def _recycled(quantity: str) -> Callable[[Sections], float]:
    def find(sections: Sections) -> float:
        name = next((each for each in sections if each.endswith("_recycled")), "none")
        return _median(name, None, quantity)(sections)

    return find


def _scrape(state: str, bound_ms: float) -> tuple[Promise, Promise]:
    """The bound in milliseconds, and the same as a share of what stock needs beside it."""
    return (
        Promise(
            f"scrape 8 × 600, {state.replace('_', ' ')}, ms",
            _median(_SCRAPE, None, f"{state}_ms"),
            most=bound_ms,
            ratio=False,
        ),
        Promise(
            f"scrape 8 × 600, {state.replace('_', ' ')}, share of stock",
            _ratio(_SCRAPE, (None, f"{state}_ms"), (None, "stock_ms")),
            most=bound_ms / _STOCK_MS,
        ),
    )


PROMISES: Final = (
    *(
        Promise(
            f"the guide's {command} on /health/{endpoint}: P99, ms",
            _worst("p99_ms", f"guide_{endpoint}_{command}"),
            most=target,
            ratio=False,
        )
        for endpoint, target in (("live", 10.0), ("ready", 100.0), ("metrics", 50.0))
        for command in ("ab", "wrk")
    ),
    Promise(
        "metrics per request over bare Flask, µs",
        _over_bare("ours, metrics"),
        most=3.0,
        ratio=False,
    ),
    Promise(
        "metrics, id, context and line over bare Flask, µs",
        _over_bare("ours, everything"),
        most=12.0,
        ratio=False,
    ),
    Promise("the same, share of textbook's", _per_textbook("ours, everything"), most=12 / 93),
    *(
        Promise(
            f"instrumented route, requests/s over bare Flask's, c={connections}",
            _ratio(f"http_c{connections}", ("ours, everything", "rps"), ("bare Flask", "rps")),
            least=0.90,
        )
        for connections in (10, 100)
    ),
    Promise(
        "/health/live requests/s over gthread + Flask",
        _ratio("liveness", ("ours", "rps"), ("Flask, gthread", "rps")),
        least=6.0,
    ),
    Promise(
        "/health/live requests/s over bare WSGI",
        _ratio("liveness", ("ours", "rps"), ("bare WSGI, gthread", "rps")),
        least=3.0,
    ),
    *(
        Promise(
            f"/health/live P99 with {case.replace('_', ' ')}, ms",
            _median(f"faults_{case}", "ours", "p99_ms"),
            most=10.0,
            ratio=False,
        )
        for case in (
            "database_hangs_64_pollers",
            "threads_busy",
            "silent",
            "half_sent",
            "lingering",
            "all_at_once",
        )
    ),
    Promise(
        "/health/ready on PostgreSQL, c=10: P99, ms",
        _median("ready_c10", "PostgreSQL", "p99_ms"),
        most=5.0,
        ratio=False,
    ),
    Promise(
        "/health/ready on PostgreSQL, ab -c 50: P99, ms",
        _median("guide_ready_ab", "PostgreSQL", "p99_ms"),
        most=20.0,
        ratio=False,
    ),
    *_scrape("all", 12.0),
    *_scrape("one_percent", 3.0),
    *_scrape("cold", 30.0),
    Promise(
        "samples equal to stock's, to the last bit",
        _median(_SCRAPE, None, "same_samples"),
        least=1.0,
    ),
    Promise(
        "OpenMetrics + gzip over plain, all changed",
        _ratio(_SCRAPE, (None, "all_openmetrics_gzip_ms"), (None, "all_ms")),
        most=1.5,
    ),
    Promise("scrape after 500 recycled workers", _recycled("recycled_warm_ratio"), most=1.1),
    Promise("directory after them", _recycled("recycled_directory_ratio"), most=1.1),
    Promise("counts lost by them", _recycled("recycled_counts_lost"), most=0.0, least=0.0),
)
