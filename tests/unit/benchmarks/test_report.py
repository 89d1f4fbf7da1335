"""What a run writes: every table, what was not run, what failed, and each chart it names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fleet import Fleet
from benchmarks.noise import Quiet
from benchmarks.report import current_commit, write
from benchmarks.rounds import Measured
from benchmarks.run import Outcome, Plan
from tests.unit.benchmarks.tables import measured, scrape_case, section


@pytest.fixture(name="plan")
def _plan() -> Iterator[Plan]:
    with Fleet() as fleet:
        yield Plan(1, quick=True, quiet=Quiet(budget_seconds=0.0), commit="abc", fleet=fleet)


def outcome() -> Outcome:
    rows: dict[str, Measured] = {
        f"8 × {sets}": scrape_case(8, sets, all_ms=sets / 100, stock_ms=sets / 2)
        for sets in (20, 100, 600)
    }
    rows["8 × 10,000"] = scrape_case(8, 10_000, all_ms=100.0)
    guide = {"SQLite": measured(p99_ms=9.0), "PostgreSQL": measured(p99_ms=101.0)}
    tables = [
        section("guide_live_ab", guide, chart="p99_ms"),
        section("scrape_text", rows),
    ]
    return Outcome({each.name: each for each in tables}, {"faults": "OSError: no"}, seconds=61.4)


def report(folder: Path, plan: Plan) -> str:
    return write(folder, outcome(), plan).with_suffix(".md").read_text()


def test_what_was_not_run_says_so_and_is_no_figure(tmp_path: Path, plan: Plan) -> None:
    (row,) = [r for r in report(tmp_path, plan).splitlines() if r.startswith("| 8 × 10,000")]

    assert "| not run |" in row


def test_a_section_that_failed_is_named(tmp_path: Path, plan: Plan) -> None:
    assert "**faults ended early: OSError: no**" in report(tmp_path, plan)


def test_the_guides_rows_have_the_guides_verdicts(tmp_path: Path, plan: Plan) -> None:
    text = report(tmp_path, plan)

    assert re.search(r"\| SQLite .*\| target \|", text)
    assert re.search(r"\| PostgreSQL .*\| critical \|", text)


def test_milliseconds_are_marked_as_of_this_machine(tmp_path: Path, plan: Plan) -> None:
    text = report(tmp_path, plan)

    assert "| ≤ 10 | 101 | **no**, on this machine |" in text
    assert "| all changed, share of stock's | ≤ 0.06 | 0.02 | yes |" in text


def test_the_law_is_worked_out_from_the_runs_own_points(tmp_path: Path, plan: Plan) -> None:
    (law,) = [r for r in report(tmp_path, plan).splitlines() if ": stock |" in r]

    assert law.endswith("| 1.00, in the end 1.00 (20 – 600, × 1.00) |")


def test_every_chart_the_report_shows_is_there_and_no_other(tmp_path: Path, plan: Plan) -> None:
    shown = set(re.findall(r"\]\((.*\.svg)\)", report(tmp_path, plan)))

    assert shown == {str(each.relative_to(tmp_path)) for each in tmp_path.glob("*/*.svg")}
    assert {Path(each).stem for each in shown} == {"guide_live_ab", "scrape_text_by_sets"}


def test_json_has_all_readings_and_each_verdict(tmp_path: Path, plan: Plan) -> None:
    written = json.loads(write(tmp_path, outcome(), plan).read_text())

    row = written["sections"]["guide_live_ab"]["rows"]["PostgreSQL"]
    assert row["readings"] == [{"foreign": 0.0, "p99_ms": 101.0}]
    verdicts = {(each["what"], each["kept"]) for each in written["promises"]}
    assert ("`ab` on /health/live, slower database: P99, ms", False) in verdicts
    assert ("over Flask", None) in verdicts
    assert written["failed"] == {"faults": "OSError: no"}


def test_without_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert current_commit() == "unknown"
