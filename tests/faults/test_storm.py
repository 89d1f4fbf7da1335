"""Processes that start, end and are killed: counts are exact and the number of files bounded."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from atom_platform.metrics import track
from atom_platform.metrics.scrape.collector import Collector
from atom_platform.metrics.storage.storage import STORAGE
from tests.support.records import count_request
from tests.unit.metrics.conftest import Samples
from tests.unit.metrics.test_instruments import at

Collected = Callable[[], Samples]

COUNT = at("http_requests_total", method="GET", endpoint="/a", status="200")
OBSERVED = at("http_request_duration_seconds_count", method="GET", endpoint="/a")


def start(count: int, *, then_wait: bool = False) -> int:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with track.track_agent("a") if then_wait else track.track_skill("s"):
                for _ in range(count):
                    count_request("GET", "/a", 200, 0.01)
                if then_wait:
                    signal.pause()
            status = 0
        finally:
            os._exit(status)
    return pid


def reap(pid: int) -> None:
    os.waitpid(pid, 0)


def test_150_workers_leave_the_files_of_a_few(directory: Path, collected: Collected) -> None:
    """Four at a time, as `max_requests` recycles them."""
    count_request("GET", "/a", 200, 0.01)
    running: list[int] = []
    for _ in range(150):
        running.append(start(5))
        if len(running) == 4:
            reap(running.pop(0))
    for pid in running:
        reap(pid)

    found = collected()

    assert found[COUNT] == 751
    assert found[OBSERVED] == 751
    assert found[at("skill_executions_total", skill_id="s", status="success")] == 150
    # This process and four at once, whichever of them happened to overlap.
    for kind in ("counter", "histogram"):
        assert len(list(directory.glob(f"{kind}_*"))) <= 1 + 4
    kinds = {path.name.partition("_slot")[0] for path in directory.glob("*_slot*")}
    assert len(list(directory.glob("*_slot*"))) <= (1 + 4) * len(kinds)
    assert len(kinds) < 10


def test_a_killed_worker_keeps_its_counts_and_loses_its_gauges(
    directory: Path, collected: Collected
) -> None:
    count_request("GET", "/a", 200, 0.01)
    pids = [start(100, then_wait=True) for _ in range(3)]
    deadline = time.monotonic() + 20
    while collected()[COUNT] != 301:
        assert time.monotonic() < deadline

    assert collected()[at("active_agents")] == 3
    os.kill(pids[0], signal.SIGKILL)
    reap(pids[0])

    found = collected()

    assert found[at("active_agents")] == 2
    assert found[COUNT] == 301
    for pid in pids[1:]:
        os.kill(pid, signal.SIGKILL)
        reap(pid)
    assert at("active_agents") not in collected()


def test_no_counter_decreases_while_workers_are_killed(
    directory: Path, collected: Collected
) -> None:
    """Workers are killed at random moments and replaced at once, with scrapes in between."""
    rng = random.Random(7)
    count_request("GET", "/a", 200, 0.01)
    running = [start(100_000) for _ in range(4)]
    last, decreases, kills = 0.0, 0, 0
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        victim = running.pop(rng.randrange(len(running)))
        os.kill(victim, signal.SIGKILL)
        reap(victim)
        running.append(start(100_000))
        for _ in range(3):
            found = collected()
            now = found[COUNT]
            decreases += now < last
            last = now
        kills += 1
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        reap(pid)
        kills += 1

    found = collected()
    assert found[COUNT] > 1000
    # Each may have died between the counter and the bucket of its last observation.
    assert abs(found[OBSERVED] - found[COUNT]) <= kills
    assert decreases == 0
    assert len(list(directory.glob("counter_*.columnar"))) <= 5
    assert not list(directory.glob("*.corrupt"))
    assert not STORAGE.problems.uncounted()


def grow(first: int, number: int) -> int:
    """Start a process that counts each of *number* label sets three times."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for at in range(first, first + number):
                for _ in range(3):
                    count_request("GET", f"/{at % 300}", 200, 0.01)
            status = 0
        finally:
            os._exit(status)
    return pid


def test_no_counter_decreases_while_writers_of_new_label_sets_are_killed(
    directory: Path, collected: Collected
) -> None:
    """Lines half written, segments added, slots taken over: no sample decreases."""
    rng = random.Random(11)
    count_request("GET", "/a", 200, 0.01)
    running = [grow(each * 75, 100_000) for each in range(3)]
    last: Samples = {}
    back = []
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        victim = running.pop(rng.randrange(len(running)))
        os.kill(victim, signal.SIGKILL)
        reap(victim)
        running.append(grow(rng.randrange(300), 100_000))
        found = collected()
        back += [key for key, value in last.items() if found.get(key, -1.0) < value]
        last = found
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        reap(pid)

    before = collected()
    running = [grow(each * 50, 300) for each in range(4)]
    for pid in running:
        reap(pid)
    after = collected()

    assert back == []
    grown = {key: value - before.get(key, 0.0) for key, value in after.items()}
    counted = [
        value
        for (name, labels), value in grown.items()
        if name == "http_requests_total" and dict(labels)["status"] == "200"
    ]
    assert sorted(counted) == [0.0] + [12.0] * 300  # the first is /a
    assert after == {
        (sample.name, sample.labels): sample.value
        for family in Collector().collect().families()
        for sample in family.samples
    }
    assert not list(directory.glob("*.corrupt"))
    assert not STORAGE.problems.uncounted()
