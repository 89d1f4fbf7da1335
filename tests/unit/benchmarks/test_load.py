"""What `ab` and `wrk` print, as they printed it, made numbers."""

from __future__ import annotations

import pytest

from benchmarks.load import parse_ab, parse_wrk, percentiles_of_csv

AB = """
Concurrency Level:      100
Complete requests:      10000
Failed requests:        37
   (Connect: 0, Receive: 0, Length: 30, Exceptions: 7)
Non-2xx responses:      5
Requests per second:    18423.17 [#/sec] (mean)
"""

WRK = """Running 2s test @ http://127.0.0.1:8000/health/live
Requests/sec:  11585.20
Transfer/sec:      2.50MB
percentiles 930 2004 3711
failed 2
"""


def test_a_body_of_another_length_is_no_failure_but_a_refusal_is() -> None:
    assert parse_ab(AB) == {"rps": 18423.17, "failed": 12.0}


def test_percentiles_keep_their_fractions() -> None:
    table = "Percentage served,Time in ms\n0,0.5\n50,1.807\n95,6.9\n99,9.912\n"

    assert percentiles_of_csv(table) == {"p50_ms": 1.807, "p95_ms": 6.9, "p99_ms": 9.912}


def test_wrk_reports_milliseconds() -> None:
    assert parse_wrk(WRK) == {
        "rps": 11585.2,
        "p50_ms": 0.93,
        "p95_ms": 2.004,
        "p99_ms": 3.711,
        "failed": 2.0,
    }


@pytest.mark.parametrize("parse", [parse_ab, parse_wrk])
def test_anything_else_is_refused(parse: object) -> None:
    assert callable(parse)

    with pytest.raises(ValueError, match="not what"):
        parse("connection refused")
