"""
Requests are counted without a lock: what that rests on.

CPython lets go of the interpreter at calls, backward jumps and the start of a function, and nowhere
else. Between the look for the cells and the last addition to them there must be none of these.
"""

from __future__ import annotations

import dis
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType

import pytest

from atom_platform.metrics import instruments, requests
from atom_platform.metrics.storage.storage import STORAGE
from tests.metrics.conftest import Samples
from tests.metrics.records import count_request

Collected = Callable[[], Samples]

#: What an instruction's name begins with where another thread may be let in.
LETS_OTHERS_IN = ("CALL", "JUMP_BACKWARD", "RESUME", "SEND", "YIELD", "FOR_ITER", "PRECALL")


def at(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted(labels.items()))


def counting_instructions(function: object) -> Iterator[str]:
    """Yield those from the first look into a table of cells to the last addition."""
    assert isinstance(function, FunctionType)
    names = [(each.opname, each.argval) for each in dis.get_instructions(function)]
    first = next(n for n, (_, what) in enumerate(names) if what in ("_requests", "_in_progress"))
    stores = [number for number, (name, _) in enumerate(names) if name == "STORE_SUBSCR"]
    additions = 4 if function is requests.record_request else 1
    for name, _ in names[first : stores[additions - 1] + 1]:
        yield name


@pytest.mark.parametrize("function", [requests.record_request, requests.requests_in_progress])
def test_nothing_lets_another_thread_in_between_look_and_addition(
    function: Callable[..., None],
) -> None:
    found = list(counting_instructions(function))

    assert "STORE_SUBSCR" in found
    assert [name for name in found if name.startswith(LETS_OTHERS_IN)] == []


def test_threads_that_are_let_in_as_often_as_can_be_lose_no_request(collected: Collected) -> None:
    def run() -> None:
        for number in range(4000):
            instruments.requests_in_progress(1.0)
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


def test_a_move_to_another_directory_loses_no_request_of_those_counted_meanwhile(
    directory: Path, collected: Collected
) -> None:
    """Whoever moves the cells empties the tables first, and a lookup then waits for the lock."""
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


def test_an_interpreter_without_its_lock_takes_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    free: list[bool] = []

    def look() -> None:
        if STORAGE.lock.acquire(blocking=False):
            STORAGE.lock.release()
            free.append(True)
        else:
            free.append(False)

    def count() -> None:
        other = threading.Thread(target=look)
        other.start()
        other.join()

    requests._in_one_step(count)()
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    requests._in_one_step(count)()

    assert free == [True, False]
