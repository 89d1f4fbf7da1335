"""A promise is missed when its figure is beyond the bound, and unknown when nobody measured."""

from __future__ import annotations

import pytest

from benchmarks.contract import judge
from benchmarks.run import Section
from tests.unit.benchmarks.tables import measured, section


def verdict(line: str, what: str, *sections: Section) -> bool | None:
    judged = judge({each.name: each for each in sections})
    (found,) = [v for v in judged if v.promise.line.startswith(line) and v.promise.what == what]
    return found.kept


def test_what_was_not_measured_is_neither_kept_nor_missed() -> None:
    assert {each.kept for each in judge({})} == {None}


@pytest.mark.parametrize("rps", [pytest.param(899.0, id="below"), pytest.param(900.0, id="at")])
def test_a_ratio_below_the_least_is_missed(rps: float) -> None:
    rows = {"ours, everything": measured(rps=rps), "bare Flask": measured(rps=1000.0)}

    kept = verdict(
        *("instrumented", "share of bare Flask's, 10 connections", section("http_c10", rows))
    )

    assert kept is (rps == 900.0)


@pytest.mark.parametrize("lost", [0.0, 1.0, -1.0])
def test_one_count_more_or_less_is_missed(lost: float) -> None:
    rows = {"2 × 20, 500 recycled": measured(recycled_counts_lost=lost)}

    kept = verdict("after 500", "counts lost", section("scrape_recycled", rows))

    assert kept is (lost == 0.0)


def test_what_is_no_number_is_not_kept() -> None:
    rows = {"8 × 600": measured(all_ms=float("nan"), stock_ms=1.0)}

    assert (
        verdict("scrape, 8", "all changed, share of stock's", section("scrape_text", rows)) is False
    )


def test_the_cost_of_a_request_is_judged_beside_its_peers() -> None:
    """Contract §7: 0.33 of prometheus-flask-exporter for metrics, 0.17 of textbook for all."""

    def kept(metrics: float, everything: float) -> list[bool | None]:
        table = section(
            "in_process",
            {
                "ours, metrics": measured(over_bare_us=metrics),
                "ours, everything": measured(over_bare_us=everything),
                "prometheus-flask-exporter": measured(over_bare_us=30.0),
                "textbook": measured(over_bare_us=100.0),
            },
        )
        shares = [v for v in judge({"in_process": table}) if "share" in v.promise.what]
        return [v.kept for v in shares if v.promise.line.startswith("metrics")]

    assert kept(9.8, 16.9) == [True, True]
    assert kept(10.0, 16.9) == [False, True]
    assert kept(9.8, 17.1) == [True, False]


def test_the_slower_database_decides_and_every_target_counts() -> None:
    def tables(slow_live_ms: float) -> list[Section]:
        return [
            section(
                f"guide_{endpoint}_{tool}",
                {"SQLite": measured(p99_ms=1.0), "PostgreSQL": measured(p99_ms=p99_ms)},
            )
            for endpoint, p99_ms in (("live", slow_live_ms), ("ready", 99.0), ("metrics", 49.0))
            for tool in ("ab", "wrk")
        ]

    assert verdict("the guide", "share of targets met", *tables(9.9)) is True
    assert verdict("the guide", "share of targets met", *tables(10.1)) is False


def test_one_failed_request_to_ours_in_any_round_is_missed() -> None:
    """A server that refuses is quick: without this, its ratios would look good."""
    ours, peer = measured(failed=0.0), measured(failed=9.0)
    worse = measured(failed=1.0)
    mixed = type(ours)((*ours.readings, *ours.readings, *worse.readings), limit=0.1)

    def kept(row: object) -> bool | None:
        rows = {"ours": row, "Flask, gthread": peer}
        return verdict("all", "requests to ours that failed", section("liveness", rows))  # type: ignore[arg-type]  # rows are made above

    assert kept(ours) is True
    assert kept(mixed) is False
