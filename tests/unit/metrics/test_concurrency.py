"""Threads that count at the same time, or while the files move, lose no request."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from atom_platform.metrics import http_metrics, instruments
from atom_platform.metrics.storage.storage import STORAGE
from tests.support.records import count_request
from tests.unit.metrics.conftest import Samples

Collected = Callable[[], Samples]


def at(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted(labels.items()))


def test_threads_that_switch_all_the_time_lose_no_request(collected: Collected) -> None:
    def run() -> None:
        for number in range(4000):
            http_metrics.add_in_progress(1.0)
            status = (200, 404)[number % 2]
            count_request("GET", "/a", status, number % 3 * 0.01, in_progress=-1.0)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)

    found = collected()
    for status in ("200", "404"):
        assert found[at("http_requests_total", method="GET", endpoint="/a", status=status)] == 16000
    assert found[at("http_request_duration_seconds_count", method="GET", endpoint="/a")] == 32000
    assert found[at("http_requests_in_progress")] == 0


def test_a_move_to_another_directory_loses_no_request(
    directory: Path, collected: Collected
) -> None:
    """`Storage` clears the tables of cells under the lock that counting takes."""
    counted, stop = [0, 0], threading.Event()

    def run(which: int) -> None:
        while not stop.is_set():
            count_request("GET", "/a", 200, 0.01)
            counted[which] += 1

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=run, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            shutil.rmtree(directory, ignore_errors=True)  # files come while it looks
            directory.mkdir(exist_ok=True)
            seen = sum(counted)
            while sum(counted) < seen + 50:
                pass
            instruments.heartbeat()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(before)

    found = collected()
    total = found[at("http_requests_total", method="GET", endpoint="/a", status="200")]
    assert total == sum(counted)


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(lambda: count_request("GET", "/a", 200, 0.01), id="request"),
        pytest.param(lambda: http_metrics.add_in_progress(1.0), id="in_progress"),
    ],
)
def test_counting_waits_for_the_lock_of_the_storage(
    collected: Collected, count: Callable[[], None]
) -> None:
    count()  # its cells are at hand
    with STORAGE.lock:
        other = threading.Thread(target=count)
        other.start()
        other.join(0.2)
        waited = other.is_alive()
    other.join(20)

    assert waited
    assert not other.is_alive()
