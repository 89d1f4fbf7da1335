"""server_of reads a URL as libpq does, and adds what finds dead peers."""

from __future__ import annotations

import pytest

from atom_platform.database.deadline import Deadline
from atom_platform.database.server import Target, server_of, targets_of


def hosts_of(url: str) -> list[tuple[str, str, str]]:
    server = server_of(url, statement_timeout_seconds=30)
    return [(each.host, each.address, each.port) for each in targets_of(server, Deadline(5))]


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


def test_the_environment_of_libpq_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "127.0.0.9")
    monkeypatch.setenv("PGPORT", "6543")

    assert hosts_of("postgresql:///d") == [("127.0.0.9", "127.0.0.9", "6543")]


def test_an_escaped_password() -> None:
    server = server_of("postgresql://u:p%40%2F%3A@h/d", statement_timeout_seconds=30)

    assert server.parameters["password"] == "p@/:"


def test_options_of_the_url_win() -> None:
    server = server_of(
        "postgresql://h/d?sslmode=require&tcp_user_timeout=1&options=-c%20statement_timeout%3D7",
        statement_timeout_seconds=1.5,
    )

    assert server.parameters["sslmode"] == "require"
    assert server.parameters["tcp_user_timeout"] == "1"
    assert server.options == "-c statement_timeout=1500 -c statement_timeout=7"


@pytest.mark.parametrize(
    "url", ["postgresql://h/d?no_such_option=1", "postgresql://u:secret@[::1/d", "postgresql://%"]
)
def test_what_libpq_does_not_take(url: str) -> None:
    with pytest.raises(ValueError, match="not a URL that libpq understands") as caught:
        server_of(url, statement_timeout_seconds=30)

    assert "secret" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_who_was_silent_is_asked_last() -> None:
    server = server_of("postgresql://127.0.0.1:1,127.0.0.2:1/d", statement_timeout_seconds=30)
    server.silent.add(Target("127.0.0.1", "127.0.0.1", "1"))

    assert [each.host for each in targets_of(server, Deadline(5))] == ["127.0.0.2", "127.0.0.1"]


def test_a_preference_is_offered_to_all_hosts_first() -> None:
    server = server_of(
        "postgresql://127.0.0.1,127.0.0.2/d?target_session_attrs=prefer-standby",
        statement_timeout_seconds=30,
    )

    assert [(each.host[-1], each.role) for each in targets_of(server, Deadline(5))] == [
        ("1", "standby"),
        ("2", "standby"),
        ("1", "any"),
        ("2", "any"),
    ]
