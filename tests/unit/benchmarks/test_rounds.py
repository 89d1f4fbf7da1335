"""Contenders take turns, and rounds that were disturbed are repeated while there is time."""

from __future__ import annotations

import time

from benchmarks.noise import Quiet
from benchmarks.rounds import Measured, Reading, interleave


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


def asked_of(quiet: Quiet, *, rounds: int, seconds: float = 0.0) -> int:
    """Return how many readings were taken of a contender that takes *seconds*."""
    readings = 0

    def contender() -> dict[str, float]:
        nonlocal readings
        readings += 1
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass
        return {"x_ms": 1.0}

    interleave({"a": contender}, rounds=rounds, quiet=quiet)
    return readings


def test_a_single_clean_round_is_enough_where_one_was_asked_for() -> None:
    everything_is_clean = Quiet(limit=2.0, look_seconds=0.0)

    assert asked_of(everything_is_clean, rounds=1) == 1


def test_disturbed_rounds_are_repeated_out_of_the_budget() -> None:
    nothing_is_clean = Quiet(limit=-1.0, budget_seconds=1000.0, each_seconds=0.0)

    assert asked_of(nothing_is_clean, rounds=3, seconds=0.01) == 6
    assert nothing_is_clean.budget_seconds <= 1000.0 - 3 * 0.01


def test_a_round_for_which_the_budget_has_no_room_is_not_repeated() -> None:
    """A run has an end, however noisy the machine is and however long a round."""
    nothing_is_clean = Quiet(limit=-1.0, budget_seconds=0.05, each_seconds=0.0)

    assert asked_of(nothing_is_clean, rounds=3, seconds=0.06) == 3
