"""Contract §7, line by line: each promise, and the figures that decide whether it is kept."""

from __future__ import annotations

from typing import Final

from benchmarks.promises import (
    Figure,
    Promise,
    Sections,
    Verdict,
    failures,
    judge_all,
    median,
    ratio,
)
from benchmarks.sections.scrape import row_name

__all__ = ["GUIDE_TARGETS_MS", "PROMISES", "judge"]

#: P99 of the guide's commands by endpoint: target, acceptable, critical.
GUIDE_TARGETS_MS: Final = {
    "live": (10.0, 50.0, 100.0),
    "ready": (100.0, 250.0, 500.0),
    "metrics": (50.0, 100.0, 200.0),
}
_COMMANDS: Final = tuple((e, tool) for e in GUIDE_TARGETS_MS for tool in ("ab", "wrk"))

_SCRAPED: Final = row_name(8, 600)
_RECYCLED: Final = row_name(2, 20, 500)
_FAULTS: Final = (
    *("database_hangs_64_pollers", "threads_busy", "silent", "half_sent", "lingering"),
    "all_at_once",
)


def judge(sections: Sections) -> list[Verdict]:
    """Return a verdict for each promise, also for those without a measurement."""
    return judge_all(PROMISES, sections)


def _guide_p99(endpoint: str, tool: str) -> Figure:
    """Return a function that finds the slower database's P99 of one command."""

    def slower(sections: Sections) -> float:
        rows = sections[f"guide_{endpoint}_{tool}"].rows
        return max(row.median("p99_ms") for row in rows.values())

    return slower


def _targets_met(sections: Sections) -> float:
    met = [
        _guide_p99(endpoint, tool)(sections) < GUIDE_TARGETS_MS[endpoint][0]
        for endpoint, tool in _COMMANDS
    ]
    return sum(met) / len(met)


def _guide() -> tuple[Promise, ...]:
    line = "the guide's table"
    commands = (
        Promise(
            line,
            f"`{tool}` on /health/{endpoint}, slower database: P99, ms",
            _guide_p99(endpoint, tool),
            most=GUIDE_TARGETS_MS[endpoint][0],
            ratio=False,
        )
        for endpoint, tool in _COMMANDS
    )
    every = Promise(line, "share of targets met", _targets_met, least=1.0, ratio=False)
    return (*commands, every)


def _in_process() -> tuple[Promise, ...]:
    table, over_us = "in_process", "over_bare_us"
    metrics, everything = ("ours, metrics", over_us), ("ours, everything", over_us)
    one = "metrics per request"
    all_of_it = "metrics + request id + context + JSON access line"
    of_exporter = ratio(table, metrics, ("prometheus-flask-exporter", over_us))
    of_textbook = ratio(table, everything, ("textbook", over_us))
    return (
        Promise(one, "over bare Flask, µs", median(table, *metrics), most=9.0, ratio=False),
        Promise(one, "the same, share of prometheus-flask-exporter's", of_exporter, most=0.33),
        Promise(
            *(all_of_it, "over bare Flask, µs", median(table, *everything)),
            most=18.0,
            ratio=False,
        ),
        Promise(all_of_it, "the same, share of textbook's", of_textbook, most=0.17),
    )


def _over_http() -> tuple[Promise, ...]:
    route, live = "instrumented Flask route, requests/s", "`/health/live` requests/s"
    return (
        *(
            Promise(
                route,
                f"share of bare Flask's, {connections} connections",
                ratio(f"http_c{connections}", ("ours, everything", "rps"), ("bare Flask", "rps")),
                least=0.90,
            )
            for connections in (10, 100)
        ),
        *(
            Promise(
                live,
                f"over {peer}",
                ratio("liveness", ("ours", "rps"), (f"{peer}, gthread", "rps")),
                least=times,
            )
            for peer, times in (("Flask", 6.0), ("bare WSGI", 3.0))
        ),
    )


def _probes() -> tuple[Promise, ...]:
    return (
        *(
            Promise(
                "`/health/live` under faults",
                f"{case.replace('_', ' ')}: P99, ms",
                median(f"faults_{case}", "ours", "p99_ms"),
                most=10.0,
                ratio=False,
            )
            for case in _FAULTS
        ),
        *(
            Promise(
                "`/health/ready` on PostgreSQL",
                f"ab -c {concurrency}: P99, ms",
                median(f"ready_c{concurrency}", "PostgreSQL", "p99_ms"),
                most=bound_ms,
                ratio=False,
            )
            for concurrency, bound_ms in ((10, 5.0), (50, 20.0))
        ),
    )


def _scrape() -> tuple[Promise, ...]:
    line, text = "scrape, 8 workers × 600 label sets", "scrape_text"
    asked = "scrape as Prometheus asks for it, over the plain one"
    states = {"all": 0.06, "one_percent": 0.04, "unchanged": 0.01, "cold": 0.5}
    names = {
        "all": "all changed",
        "one_percent": "1 % changed",
        "cold": "cold",
        "unchanged": "unchanged",
    }
    of_stock = (
        Promise(
            line,
            f"{names[state]}, share of stock's",
            ratio(text, (_SCRAPED, f"{state}_ms"), (_SCRAPED, "stock_ms")),
            most=share,
        )
        for state, share in states.items()
    )
    compressed = (
        Promise(
            asked,
            name,
            ratio(text, (_SCRAPED, f"{state}_openmetrics_gzip_ms"), (_SCRAPED, f"{state}_ms")),
            most=1.5,
        )
        for state, name in names.items()
    )
    same = median(text, _SCRAPED, "same_samples")
    return (
        *of_stock,
        Promise(line, "samples equal to stock's, to the last bit", same, least=1.0),
        *compressed,
    )


def _recycled() -> tuple[Promise, ...]:
    line, table = "after 500 recycled workers, over the fresh state", "scrape_recycled"
    return (
        *(
            Promise(line, what, median(table, _RECYCLED, f"recycled_{name}_ratio"), most=1.1)
            for name, what in (
                ("warm", "scrape"),
                ("cold", "first scrape"),
                ("directory", "directory"),
            )
        ),
        Promise(
            *(line, "counts lost", median(table, _RECYCLED, "recycled_counts_lost")),
            most=0.0,
            least=0.0,
        ),
    )


PROMISES: Final = (
    *_guide(),
    *_in_process(),
    *_over_http(),
    *_probes(),
    *_scrape(),
    *_recycled(),
    # Failures count against the line: a server that rejects requests is fast.
    Promise("all of these", "requests to ours that failed", failures, most=0.0),
)
