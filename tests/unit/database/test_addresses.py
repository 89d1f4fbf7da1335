"""The addresses of a URL: read as libpq does, and resolved in no more time than allowed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from atom_platform.database.postgres import addresses
from atom_platform.database.postgres.addresses import (
    ServerAddress,
    addresses_of,
    parse_url,
    resolve,
)
from atom_platform.database.postgres.deadline import Deadline, Waker
from tests.support.forked import in_child
from tests.support.stalls import scaled


def hosts_of(url: str) -> list[tuple[str, str, str]]:
    server = parse_url(url, statement_timeout_seconds=30)
    return [(each.host, each.address, each.port) for each in addresses_of(server, Deadline(5))]


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://u@127.0.0.1:5433/d", [("127.0.0.1", "127.0.0.1", "5433")]),
        ("postgres://u@[::1]/d", [("::1", "::1", "5432")]),
        (
            "postgresql://u@127.0.0.1:1,127.0.0.2:2/d",
            [("127.0.0.1", "127.0.0.1", "1"), ("127.0.0.2", "127.0.0.2", "2")],
        ),
        (
            "postgresql://u@127.0.0.1,127.0.0.2/d?port=7",
            [("127.0.0.1", "127.0.0.1", "7"), ("127.0.0.2", "127.0.0.2", "7")],
        ),
        ("postgresql:///d?host=/run/postgresql", [("/run/postgresql", "", "5432")]),
        (
            "postgresql://db.example/d?hostaddr=192.0.2.1",
            [("db.example", "192.0.2.1", "5432")],
        ),
    ],
)
def test_hosts(url: str, hosts: list[tuple[str, str, str]]) -> None:
    assert hosts_of(url) == hosts


def test_the_environment_of_libpq_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "127.0.0.9")
    monkeypatch.setenv("PGPORT", "6543")

    assert hosts_of("postgresql:///d") == [("127.0.0.9", "127.0.0.9", "6543")]


def test_an_escaped_password() -> None:
    server = parse_url("postgresql://u:p%40%2F%3A@h/d", statement_timeout_seconds=30)

    assert server.parameters["password"] == "p@/:"


def test_options_of_the_url_win() -> None:
    server = parse_url(
        "postgresql://h/d?sslmode=require&tcp_user_timeout=1&options=-c%20statement_timeout%3D7",
        statement_timeout_seconds=1.5,
    )

    assert server.parameters["sslmode"] == "require"
    assert server.parameters["tcp_user_timeout"] == "1"
    assert server.options == "-c statement_timeout=1500 -c statement_timeout=7"


@pytest.mark.parametrize(
    "url", ["postgresql://h/d?no_such_option=1", "postgresql://u:secret@[::1/d", "postgresql://%"]
)
def test_a_url_that_libpq_rejects(url: str) -> None:
    with pytest.raises(ValueError, match="not a URL that libpq understands") as caught:
        parse_url(url, statement_timeout_seconds=30)

    assert "secret" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_an_unresponsive_address_is_tried_last() -> None:
    server = parse_url("postgresql://127.0.0.1:1,127.0.0.2:1/d", statement_timeout_seconds=30)
    server.unresponsive.add(ServerAddress("127.0.0.1", "127.0.0.1", "1"))

    assert [each.host for each in addresses_of(server, Deadline(5))] == ["127.0.0.2", "127.0.0.1"]


def test_the_preferred_role_is_tried_on_all_hosts_first() -> None:
    server = parse_url(
        "postgresql://127.0.0.1,127.0.0.2/d?target_session_attrs=prefer-standby",
        statement_timeout_seconds=30,
    )

    assert [(each.host[-1], each.role) for each in addresses_of(server, Deadline(5))] == [
        ("1", "standby"),
        ("2", "standby"),
        ("1", "any"),
        ("2", "any"),
    ]


class SilentNameServer:
    """A resolver that does not answer, because a test cannot silence the system's."""

    def __init__(self) -> None:
        self.asked = 0
        self._speaks = threading.Event()

    def __call__(self, host: str, *_: Any, **__: Any) -> list[Any]:
        self.asked += 1
        assert self._speaks.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 0))]

    def speak(self) -> None:
        """Answer, and wait for the resolver's thread to end."""
        self._speaks.set()
        for thread in threading.enumerate():
            if thread.name == "database-resolver":
                thread.join(scaled(10))


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentNameServer]:
    server = SilentNameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server)
    yield server
    server.speak()
    addresses._lookups.clear()


def test_a_name_of_this_machine() -> None:
    assert "127.0.0.1" in resolve("localhost", Deadline(10))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "fe80::1%eth0"])
def test_an_address_is_not_resolved(silent: SilentNameServer, address: str) -> None:
    assert resolve(address, Deadline(0)) == [address]
    assert silent.asked == 0


@pytest.mark.parametrize("name", ["no-such-host.invalid", "a" * 64, "two..dots"])
def test_no_such_name(name: str) -> None:
    with pytest.raises(OSError) as caught:
        resolve(name, Deadline(20))

    assert not isinstance(caught.value, TimeoutError)


def test_a_silent_resolver_costs_the_deadline_and_one_thread(silent: SilentNameServer) -> None:
    start = time.monotonic()

    for _ in range(3):
        with pytest.raises(TimeoutError):
            resolve("db.example", Deadline(0.1))

    assert 0.3 <= time.monotonic() - start < scaled(5)
    assert silent.asked == 1


def test_a_wait_can_be_ended(silent: SilentNameServer) -> None:
    waker = Waker()
    waker.wake()
    start = time.monotonic()

    with pytest.raises(TimeoutError):
        resolve("db.example", Deadline(20, waker=waker))

    assert time.monotonic() - start < scaled(5)


def test_a_late_answer_serves_the_next_call(silent: SilentNameServer) -> None:
    with pytest.raises(TimeoutError):
        resolve("db.example", Deadline(0.05))
    silent.speak()

    assert resolve("db.example", Deadline(0)) == ["192.0.2.7"]
    assert resolve("db.example", Deadline(5)) == ["192.0.2.7"]
    assert silent.asked == 2  # an old answer is used once, not kept


def test_a_child_resolves_again(silent: SilentNameServer) -> None:
    """The thread of the lookup exists in the parent only."""
    with pytest.raises(TimeoutError):
        resolve("db.example", Deadline(0.05))

    def child() -> list[str]:
        silent._speaks.set()
        return resolve("db.example", Deadline(5))

    assert in_child(child) == ["192.0.2.7"]
