"""A run keeps what it has, whatever happens to one of its sections, and says what was wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.__main__ import complaints
from benchmarks.contract import judge
from benchmarks.fleet import Fleet
from benchmarks.noise import Quiet
from benchmarks.run import Outcome, Plan, Section, take
from tests.unit.benchmarks.tables import measured, section


@pytest.fixture(name="plan")
def _plan() -> Iterator[Plan]:
    with Fleet() as fleet:
        yield Plan(1, quick=True, quiet=Quiet(budget_seconds=0.0), commit="abc", fleet=fleet)


def good(plan: Plan) -> Iterator[Section]:
    yield section("good", {"ours": measured(rps=1.0)})


def broken(plan: Plan) -> Iterator[Section]:
    yield section("half", {"ours": measured(rps=1.0)})
    raise RuntimeError("gunicorn ended with status 3")


def test_a_section_that_raises_loses_neither_its_tables_nor_the_others(plan: Plan) -> None:
    outcome = take({"broken": broken, "good": good}, plan, lambda so_far: None)

    assert list(outcome.sections) == ["half", "good"]
    assert outcome.failed == {"broken": "RuntimeError: gunicorn ended with status 3"}


def test_what_there_is_is_kept_after_every_table(plan: Plan) -> None:
    kept: list[int] = []

    take({"good": good, "broken": broken}, plan, lambda so_far: kept.append(len(so_far.sections)))

    assert kept == [1, 2, 2]


def test_a_failed_section_is_complained_about_though_nothing_is_checked() -> None:
    assert complaints(Outcome(failed={"guide": "OSError: no"}), [], whole=False) == [
        "failed: guide: OSError: no"
    ]


def test_a_missed_ratio_is_complained_about_and_a_missed_millisecond_is_not() -> None:
    tables = {
        "liveness": section(
            "liveness", {"ours": measured(rps=5.9), "Flask, gthread": measured(rps=1.0)}
        ),
        "ready_c10": section("ready_c10", {"PostgreSQL": measured(p99_ms=99.0)}),
    }

    assert complaints(Outcome(tables), judge(tables), whole=False) == [
        "missed: `/health/live` requests/s: over Flask: 5.9"
    ]


def test_a_ratio_that_a_whole_run_did_not_measure_is_missed() -> None:
    """A section that was renamed must not take its promises with it."""
    wrong = complaints(Outcome(), judge({}), whole=True)

    assert "missed: `/health/live` requests/s: over Flask: not measured" in wrong
    assert not complaints(Outcome(), judge({}), whole=False)
