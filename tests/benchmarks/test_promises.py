"""A promise is missed when its figure is beyond the bound, and unknown when nobody measured."""

from __future__ import annotations

from benchmarks.noise import Quiet
from benchmarks.promises import judge
from benchmarks.rounds import Measured, Reading, interleave
from benchmarks.run import Section


def measured(**values: float) -> Measured:
    return Measured((Reading(values, foreign=0.0),), limit=0.1)


def section(name: str, **rows: Measured) -> Section:
    named = {row.replace("_", " "): each for row, each in rows.items()}
    return Section(name, name, "", ("rps",), "rps", named)


def verdict(what: str, **sections: Section) -> bool | None:
    (found,) = [each for each in judge(sections) if each.promise.what == what]
    return found.kept


def test_what_was_not_measured_is_neither_kept_nor_missed() -> None:
    assert {each.kept for each in judge({})} == {None}


def test_a_ratio_below_the_least_is_missed() -> None:
    what = "instrumented route, requests/s over bare Flask's, c=10"

    def at(rps: float) -> Section:
        rows = {"ours, everything": measured(rps=rps), "bare Flask": measured(rps=1000.0)}
        return Section("http_c10", "", "", ("rps",), "rps", rows)

    assert verdict(what, http_c10=at(899.0)) is False
    assert verdict(what, http_c10=at(900.0)) is True


def test_one_lost_count_is_missed() -> None:
    def lost(counts: float) -> Section:
        rows = {"2 × 20": measured(recycled_counts_lost=counts)}
        return Section("scrape_2x20_500_recycled", "", "", (), "", rows)

    what = "counts lost by them"
    assert verdict(what, scrape_2x20_500_recycled=lost(0.0)) is True
    assert verdict(what, scrape_2x20_500_recycled=lost(1.0)) is False
    assert verdict(what, scrape_2x20_500_recycled=lost(-1.0)) is False


def test_clean_readings_outweigh_disturbed_ones() -> None:
    readings = [Reading({"x_ms": 1.0}, 0.0)] * 3 + [Reading({"x_ms": 9.0}, 0.8)] * 5

    assert Measured(tuple(readings), limit=0.1).median("x_ms") == 1.0
    assert Measured(tuple(readings[2:]), limit=0.1).median("x_ms") == 9.0


def test_contenders_take_turns_and_every_other_round_runs_backwards() -> None:
    asked: list[str] = []

    def contender(name: str) -> dict[str, float]:
        asked.append(name)
        return {"x_ms": 1.0}

    interleave(
        {"a": lambda: contender("a"), "b": lambda: contender("b")},
        rounds=2,
        quiet=Quiet(budget_seconds=0.0),
    )

    assert asked == ["a", "b", "b", "a"]
