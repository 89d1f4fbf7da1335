"""A pool that stays broken while new connections work is reset, or its worker restarted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg.pq.abc import PGconn
from sqlalchemy import exc, text

from atom_platform.database import pool_health
from atom_platform.database.engine import Database
from atom_platform.database.postgres.deadline import Waker
from atom_platform.database.postgres.factory import ConnectionFactory
from tests.support.polling import wait_until
from tests.support.postgres import PostgreSQL

Open = Callable[..., Database]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds instead of minutes."""
    monkeypatch.setattr(pool_health, "SUSPECT_SECONDS", 0.5)
    monkeypatch.setattr(pool_health, "RECOVERY_SECONDS", 1.5)


def ask(database: Database) -> bool:
    try:
        return database.run(lambda c: c.execute(text("SELECT 1")).scalar()) == 1
    except exc.SQLAlchemyError:
        return False


@pytest.mark.usefixtures("quick")
def test_a_pool_with_leaked_connections_is_reset(server: PostgreSQL, open_url: Open) -> None:
    """Every connection is checked out and never returned; only a new pool has free ones."""
    database = open_url(
        server.url(),
        database_pool_size=1,
        database_pool_timeout_seconds=0.05,
        database_query_timeout_seconds=0.1,
    )
    ended: list[str] = []
    database.on_pool_broken(lambda: ended.append("ended"))
    assert ask(database)
    forgotten = database.engine.connect()

    def works_again() -> bool:
        database.ping()
        return ask(database)

    wait_until(works_again)

    assert ended == []
    forgotten.invalidate()
    forgotten.close()


@pytest.mark.usefixtures("quick")
def test_a_pool_that_does_not_recover_restarts_the_worker(
    server: PostgreSQL, open_url: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every connection of the pool is lost at once, while the ping connects."""
    database = open_url(server.url())
    ended: list[str] = []
    database.on_pool_broken(lambda: ended.append("ended"))
    assert ask(database)

    make = ConnectionFactory._connect

    def make_and_kill(source: ConnectionFactory, waker: Waker) -> PGconn:
        pgconn = make(source, waker)
        server.execute(f"SELECT pg_terminate_backend({pgconn.backend_pid}, 5000)")
        return pgconn

    monkeypatch.setattr(ConnectionFactory, "_connect", make_and_kill)
    server.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )

    def given_up() -> bool:
        assert not ask(database)
        database.ping()
        return bool(ended)

    wait_until(given_up, seconds=30)
