"""The bound on a statement's time: on a psycopg that was read, and without it on any other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import waiting
from sqlalchemy import text

from atom_platform.database import _compat_psycopg as compat
from atom_platform.database.engine import Database
from tests.support.postgres import PostgreSQL


@pytest.fixture(autouse=True)
def _unproven() -> Iterator[None]:
    """Have each test prove psycopg anew."""
    compat.is_proven.cache_clear()
    yield
    compat.is_proven.cache_clear()


def test_the_installed_version_is_proven() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))

    assert compat.is_proven()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("version", "read on 3.3 only"),
        ("arguments", "Connection.wait takes other arguments"),
        ("timeout", "a wait does not time out"),
    ],
)
def test_an_unproven_version_is_named_once_and_serves(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    postgresql: PostgreSQL,
    open_url: Callable[..., Database],
    change: str,
    reason: str,
) -> None:
    if change == "version":
        monkeypatch.setattr(psycopg, "__version__", "3.4.0")
    elif change == "arguments":
        wait = psycopg.Connection.wait
        monkeypatch.setattr(
            psycopg.Connection, "wait", lambda self, gen, interval=0.1: wait(self, gen, interval)
        )
    else:
        monkeypatch.setattr(
            compat,
            "waiting",
            type("Waiting", (), {"wait": lambda *_: None, "WAIT_R": waiting.WAIT_R}),
        )
    database = open_url(postgresql.url())

    with caplog.at_level(logging.WARNING, "atom_platform.database"), database.write() as connection:
        answers = [connection.execute(text(f"SELECT {n}")).scalar() for n in range(3)]

    assert answers == [0, 1, 2]
    assert [(record.message, getattr(record, "reason", None)) for record in caplog.records] == [
        ("psycopg_version_unproven", reason)
    ]
