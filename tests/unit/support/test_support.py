"""What the suite rests on: bounds that follow the machine, and ports that nobody else gets."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.support.polling import wait_until
from tests.support.ports import free_port
from tests.support.service import ROOT
from tests.support.stalls import STALLS, Sample, Stalls, scaled


def stalls(*slowdowns: float, at: float = 100.0, late: float = 0.0) -> Stalls:
    made = Stalls()
    for slowdown in slowdowns:
        made.add(Sample(at, slowdown, late))
    return made


def test_a_quiet_machine_keeps_the_bounds_as_they_are_written() -> None:
    quiet = stalls(*[1.01] * 20)

    assert quiet.factor(now=101.0) == pytest.approx(1.0, abs=0.02)
    assert quiet.stalled(now=101.0) == 0.0
    assert Stalls().factor() == 1.0


def test_a_busy_machine_gets_longer_but_not_for_ever() -> None:
    assert stalls(*[4.0] * 20).factor(now=101.0) == 4.0
    assert stalls(*[400.0] * 20).factor(now=101.0) == 10.0


def test_one_slow_sample_is_no_slow_machine() -> None:
    assert stalls(*[1.0] * 19, 9.0).factor(now=101.0) == 1.0


def test_a_machine_that_stood_still_adds_that_time() -> None:
    assert stalls(1.0, 1.0, late=2.5).stalled(now=101.0) == 5.0


def test_what_is_long_past_counts_no_more() -> None:
    past = stalls(*[4.0] * 20, late=1.0)

    assert past.factor(now=200.0) == 1.0
    assert past.stalled(now=200.0) == 0.0


def test_busy_processes_are_noticed() -> None:
    code = "import time\nend = time.monotonic() + 20\nwhile time.monotonic() < end: pass"
    with_work = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(8)]
    try:
        wait_until(lambda: STALLS.factor() > 1.3)
        assert scaled(10.0) > 13.0
    finally:
        for process in with_work:
            process.kill()
            process.wait()


def test_waiting_ends_with_what_was_waited_for() -> None:
    with pytest.raises(AssertionError, match=r"^not within \d"):
        wait_until(lambda: False, seconds=0.05)

    began = time.monotonic()
    assert wait_until(lambda: time.monotonic() > began + 0.05 and "there") == "there"


def test_two_runs_never_get_the_same_port() -> None:
    """A port stays reserved until its process ends."""
    code = (
        "import sys\n"
        "from tests.support.ports import free_port\n"
        "print(*[free_port() for _ in range(300)], flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        mine = {free_port() for _ in range(300)}
        assert other.stdout is not None
        theirs = set(map(int, other.stdout.readline().split()))
        mine |= {free_port() for _ in range(300)}
        other.communicate(timeout=scaled(60))

    assert len(theirs) == 300
    assert len(mine) == 600
    assert not mine & theirs
