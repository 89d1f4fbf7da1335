"""Every line of contract §7 is judged, with the contract's own numbers."""

from __future__ import annotations

import pytest

from benchmarks.contract import PROMISES

#: Spelled out from the contract: line, which of its figures, bound, and whether it is a ratio.
CONTRACT = [
    ("the guide's table", "`ab` on /health/live, slower database: P99, ms", 10, False),
    ("the guide's table", "`wrk` on /health/live, slower database: P99, ms", 10, False),
    ("the guide's table", "`ab` on /health/ready, slower database: P99, ms", 100, False),
    ("the guide's table", "`wrk` on /health/ready, slower database: P99, ms", 100, False),
    ("the guide's table", "`ab` on /health/metrics, slower database: P99, ms", 50, False),
    ("the guide's table", "`wrk` on /health/metrics, slower database: P99, ms", 50, False),
    ("the guide's table", "share of targets met", 1, False),
    ("metrics per request", "over bare Flask, µs", 9, False),
    ("metrics per request", "the same, share of prometheus-flask-exporter's", 0.33, True),
    ("metrics + request id + context + JSON access line", "over bare Flask, µs", 18, False),
    (
        "metrics + request id + context + JSON access line",
        "the same, share of textbook's",
        *(0.17, True),
    ),
    (
        "instrumented Flask route, requests/s",
        "share of bare Flask's, 10 connections",
        *(0.90, True),
    ),
    (
        "instrumented Flask route, requests/s",
        "share of bare Flask's, 100 connections",
        *(0.90, True),
    ),
    ("`/health/live` requests/s", "over Flask", 6, True),
    ("`/health/live` requests/s", "over bare WSGI", 3, True),
    ("`/health/live` under faults", "database hangs 64 pollers: P99, ms", 10, False),
    ("`/health/live` under faults", "threads busy: P99, ms", 10, False),
    ("`/health/live` under faults", "silent: P99, ms", 10, False),
    ("`/health/live` under faults", "half sent: P99, ms", 10, False),
    ("`/health/live` under faults", "lingering: P99, ms", 10, False),
    ("`/health/live` under faults", "all at once: P99, ms", 10, False),
    ("`/health/ready` on PostgreSQL", "ab -c 10: P99, ms", 5, False),
    ("`/health/ready` on PostgreSQL", "ab -c 50: P99, ms", 20, False),
    ("scrape, 8 workers × 600 label sets", "all changed, share of stock's", 0.06, True),
    ("scrape, 8 workers × 600 label sets", "1 % changed, share of stock's", 0.04, True),
    ("scrape, 8 workers × 600 label sets", "unchanged, share of stock's", 0.01, True),
    ("scrape, 8 workers × 600 label sets", "cold, share of stock's", 0.5, True),
    ("scrape, 8 workers × 600 label sets", "samples equal to stock's, to the last bit", 1, True),
    ("scrape as Prometheus asks for it, over the plain one", "all changed", 1.5, True),
    ("scrape as Prometheus asks for it, over the plain one", "1 % changed", 1.5, True),
    ("scrape as Prometheus asks for it, over the plain one", "cold", 1.5, True),
    ("scrape as Prometheus asks for it, over the plain one", "unchanged", 1.5, True),
    ("after 500 recycled workers, over the fresh state", "scrape", 1.1, True),
    ("after 500 recycled workers, over the fresh state", "first scrape", 1.1, True),
    ("after 500 recycled workers, over the fresh state", "directory", 1.1, True),
    ("after 500 recycled workers, over the fresh state", "counts lost", 0, True),
    ("all of these", "requests to ours that failed", 0, True),
]


@pytest.mark.parametrize(("line", "what", "bound", "ratio"), CONTRACT)
def test_a_promise_has_the_contracts_bound(line: str, what: str, bound: float, ratio: bool) -> None:
    (promise,) = [each for each in PROMISES if (each.line, each.what) == (line, what)]

    bounds = {each for each in (promise.most, promise.least) if each is not None}

    assert list(bounds) == [pytest.approx(bound)]
    assert promise.ratio is ratio


def test_nothing_else_is_judged() -> None:
    assert {(p.line, p.what) for p in PROMISES} == {(line, what) for line, what, *_ in CONTRACT}
