"""DeadlinePolicy: a run after a timeout gets a shorter deadline."""

from __future__ import annotations

from atom_platform.health.check import Registration
from atom_platform.health.runner import DeadlinePolicy
from tests.unit.health.parts import Changing


def deadlines(*, timeout_seconds: float = 5.0, can_cancel: bool = True) -> DeadlinePolicy:
    return DeadlinePolicy(
        Registration(
            name="database",
            check=Changing(),
            timeout_seconds=timeout_seconds,
            cancel=(lambda: None) if can_cancel else None,
        )
    )


def test_a_run_has_the_whole_deadline() -> None:
    run = deadlines().new_run(100.0)

    assert (run.deadline, run.short) == (105.0, False)


def test_a_run_after_a_timeout_has_less_than_two_seconds() -> None:
    """A connection of the outage may stay silent, and 200 is due 2 s after the outage."""
    mine = deadlines()
    mine.new_run(100.0)
    mine.record_timeout()

    run = mine.new_run(105.0)

    assert run.short
    assert run.deadline - 105.0 < 1.5


def test_once_a_minute_a_run_has_the_whole_deadline() -> None:
    """A database that has become slow but answers in time must become healthy again."""
    mine = deadlines()
    mine.new_run(100.0)
    mine.record_timeout()

    full = [now for now in range(105, 300) if not mine.new_run(float(now)).short]

    assert full == [160, 220, 280]


def test_a_run_in_time_restores_the_whole_deadline() -> None:
    mine = deadlines()
    mine.new_run(100.0)
    mine.record_timeout()
    mine.new_run(105.0)
    mine.record_in_time()

    assert not mine.new_run(106.0).short


def test_without_cancel_a_run_has_the_whole_deadline() -> None:
    mine = deadlines(can_cancel=False)
    mine.new_run(100.0)
    mine.record_timeout()

    assert not mine.new_run(105.0).short


def test_a_short_deadline_is_not_shortened() -> None:
    mine = deadlines(timeout_seconds=1.0)
    mine.new_run(100.0)
    mine.record_timeout()

    run = mine.new_run(101.0)

    assert (run.deadline, run.short) == (102.0, False)
