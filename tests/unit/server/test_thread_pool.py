"""Threads that a process may leave behind."""

from __future__ import annotations

import logging
import threading

import pytest

from atom_platform.server.thread_pool import ThreadPool
from tests.support.polling import wait_until
from tests.support.stalls import scaled


def test_runs_as_many_at_once_as_it_has_threads() -> None:
    pool = ThreadPool(3, name="test")
    inside, leave = threading.Semaphore(0), threading.Event()
    order: list[int] = []

    def task(number: int) -> None:
        order.append(number)
        inside.release()
        leave.wait(10)

    for number in range(5):
        pool.submit(task, number)
    for _ in range(3):
        assert inside.acquire(timeout=scaled(10))

    assert sorted(order) == [0, 1, 2]
    leave.set()
    wait_until(lambda: sorted(order) == [0, 1, 2, 3, 4])
    pool.shutdown()


def test_starts_no_more_threads_than_are_needed() -> None:
    pool = ThreadPool(8, name="needed")
    for _ in range(5):
        done = threading.Event()
        pool.submit(done.set)
        assert done.wait(scaled(10))
        wait_until(lambda: pool._pending == 0)

    assert [t.name for t in threading.enumerate() if t.name.startswith("needed")] == ["needed-1"]
    pool.shutdown()


def test_a_task_that_exits_takes_no_thread_with_it(caplog: pytest.LogCaptureFixture) -> None:
    pool = ThreadPool(1, name="exits")
    with caplog.at_level(logging.ERROR, "atom_platform.server"):
        pool.submit(exec, "raise SystemExit")
        done = threading.Event()
        pool.submit(done.set)

        assert done.wait(scaled(10))
    assert caplog.messages == ["request_thread_failed"]
    pool.shutdown()


def test_a_thread_that_cannot_be_started_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ThreadPool(2, name="short")
    leave, done = threading.Event(), threading.Event()

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError):
            pool.submit(done.set)
    assert (pool._started, pool._pending, done.is_set()) == (0, 0, False)
    pool.submit(leave.wait, 10)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        pool.submit(done.set)

    assert (pool._started, pool._pending) == (1, 2)
    leave.set()
    assert done.wait(scaled(10))
    pool.shutdown()


def test_threads_end_when_shut_down() -> None:
    pool = ThreadPool(2, name="ends")
    pool.submit(lambda: None)
    pool.submit(lambda: None)

    pool.shutdown()

    wait_until(lambda: not [t for t in threading.enumerate() if t.name.startswith("ends")])
