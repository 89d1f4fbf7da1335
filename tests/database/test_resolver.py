"""resolve waits no longer than asked, whatever the system's resolver does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from atom_platform.database import resolver
from atom_platform.database.deadline import Deadline, Waker
from atom_platform.database.resolver import resolve
from tests.database.forked import in_child


class SilentNameServer:
    """Stands in for the system's resolver, where a test cannot silence the real one."""

    def __init__(self) -> None:
        self.asked = 0
        self._speaks = threading.Event()

    def __call__(self, host: str, *_: Any, **__: Any) -> list[Any]:
        self.asked += 1
        assert self._speaks.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 0))]

    def speak(self) -> None:
        """Answer, and wait for the thread that was waiting for it."""
        self._speaks.set()
        for thread in threading.enumerate():
            if thread.name == "database-resolver":
                thread.join(10)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentNameServer]:
    server = SilentNameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server)
    yield server
    server.speak()
    resolver._lookups.clear()


def test_a_name_of_this_machine() -> None:
    assert "127.0.0.1" in resolve("localhost", Deadline(10))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "fe80::1%eth0"])
def test_an_address_is_its_own_answer(silent: SilentNameServer, address: str) -> None:
    assert resolve(address, Deadline(0)) == [address]
    assert silent.asked == 0


@pytest.mark.parametrize("name", ["no-such-host.invalid", "a" * 64, "two..dots"])
def test_no_such_name(name: str) -> None:
    with pytest.raises(OSError) as caught:
        resolve(name, Deadline(20))

    assert not isinstance(caught.value, TimeoutError)


def test_silence_costs_what_was_agreed_and_one_thread(silent: SilentNameServer) -> None:
    start = time.monotonic()

    for _ in range(3):
        with pytest.raises(TimeoutError):
            resolve("db.example", Deadline(0.1))

    assert 0.3 <= time.monotonic() - start < 5
    assert silent.asked == 1


def test_a_wait_can_be_ended(silent: SilentNameServer) -> None:
    waker = Waker()
    waker.wake()
    start = time.monotonic()

    with pytest.raises(TimeoutError):
        resolve("db.example", Deadline(20, waker=waker))

    assert time.monotonic() - start < 5


def test_an_answer_that_comes_late_serves_the_next_one(silent: SilentNameServer) -> None:
    with pytest.raises(TimeoutError):
        resolve("db.example", Deadline(0.05))
    silent.speak()

    assert resolve("db.example", Deadline(0)) == ["192.0.2.7"]
    assert resolve("db.example", Deadline(5)) == ["192.0.2.7"]
    assert silent.asked == 2  # an old answer is used once, not kept


def test_a_child_asks_anew(silent: SilentNameServer) -> None:
    """The thread that was to bring the answer stayed in the parent."""
    with pytest.raises(TimeoutError):
        resolve("db.example", Deadline(0.05))

    def child() -> list[str]:
        silent._speaks.set()
        return resolve("db.example", Deadline(5))

    assert in_child(child) == ["192.0.2.7"]
