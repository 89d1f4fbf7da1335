"""Databases that a test may break, and the means to break them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from atom_platform.database.engine import Database, open_database
from atom_platform.settings import Settings
from tests.support.postgres import PostgreSQL, running_postgresql
from tests.support.relay import Relay


@pytest.fixture(scope="session")
def own_postgresql() -> Iterator[PostgreSQL]:
    """A server that the tests of this folder stop and freeze; `server` restores it."""
    with running_postgresql() as server:
        yield server


@pytest.fixture
def server(own_postgresql: PostgreSQL) -> Iterator[PostgreSQL]:
    """The server to break; it is restored afterwards."""
    yield own_postgresql
    own_postgresql.resume()
    if not own_postgresql.running:
        own_postgresql.start()


@pytest.fixture
def relay(server: PostgreSQL) -> Iterator[Relay]:
    """A network in front of `server`."""
    relay = Relay(server.port)
    yield relay
    relay.close()


@pytest.fixture(name="open_url")
def _open_url() -> Iterator[Callable[..., Database]]:
    """Return a function that opens a database, which is disposed of with the test."""
    with ExitStack() as stack:

        def open_(url: str, **settings: Any) -> Database:
            database = open_database(Settings(database_url=url, **settings))
            stack.callback(database.dispose)
            return database

        yield open_


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/data/atom.db"


@pytest.fixture
def scram_url(server: PostgreSQL) -> Iterator[str]:
    """The URL of a user with the password `right`."""
    rules = server.directory / "data" / "pg_hba.conf"
    before = rules.read_text()
    server.execute("DROP ROLE IF EXISTS keeper")
    server.execute("CREATE ROLE keeper LOGIN PASSWORD 'right'")
    rules.write_text(f"host all keeper 127.0.0.1/32 scram-sha-256\n{before}")
    server.execute("SELECT pg_reload_conf()")
    yield server.url().replace("postgres@", "keeper:right@")
    rules.write_text(before)
    server.execute("SELECT pg_reload_conf()")
