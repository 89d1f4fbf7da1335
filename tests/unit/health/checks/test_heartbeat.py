"""Heartbeat reports when a task last succeeded, in any process."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from atom_platform.health.checks.heartbeat import Heartbeat


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="heartbeat")
def _heartbeat(tmp_path: Path, clock: Clock) -> Heartbeat:
    return Heartbeat(tmp_path / "nightly", max_age_seconds=60, clock=clock)


def test_a_task_that_never_ran_is_not_healthy(heartbeat: Heartbeat) -> None:
    assert heartbeat().as_dict() == {
        "healthy": False,
        "message": "Task has not run yet",
        "age_seconds": None,
    }


@pytest.mark.parametrize(("age", "healthy"), [(0, True), (60, True), (60.5, False), (-5, True)])
def test_the_greatest_age_is_inclusive(
    heartbeat: Heartbeat, clock: Clock, age: float, healthy: bool
) -> None:
    heartbeat.beat()
    clock.now += age

    result = heartbeat()

    assert result.healthy is healthy
    assert result.details["age_seconds"] == max(0, age)


def test_a_task_that_fails_records_no_beat(heartbeat: Heartbeat) -> None:
    @heartbeat.task
    def fails() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()

    assert not heartbeat().healthy


def test_a_task_that_returns_records_a_beat(heartbeat: Heartbeat) -> None:
    @heartbeat.task
    def add(a: int, b: int) -> int:
        return a + b

    assert add(1, b=2) == 3
    assert heartbeat().healthy


def test_another_process_may_record_a_beat(tmp_path: Path) -> None:
    path = tmp_path / "cron"
    subprocess.run(["touch", path], check=True)

    assert Heartbeat(path, max_age_seconds=3600)().healthy
    os.utime(path, (0, 0))
    assert not Heartbeat(path, max_age_seconds=3600)().healthy


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_an_age_that_is_not_positive_is_rejected(tmp_path: Path, seconds: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        Heartbeat(tmp_path / "x", max_age_seconds=seconds)
