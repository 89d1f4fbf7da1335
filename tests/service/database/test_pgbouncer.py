"""Through PgBouncer in transaction mode: everything works, including its refusals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import exc, text

from atom_platform.database.engine import Database
from atom_platform.database.migrate import schema_state, upgrade
from atom_platform.health.check import CheckFailed
from tests.service.database.pgbouncer import PGBOUNCER, running_pgbouncer
from tests.support.polling import wait_until
from tests.support.postgres import PostgreSQL
from tests.support.relay import Relay
from tests.support.stalls import scaled

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")

Open = Callable[..., Database]


@pytest.fixture(scope="module")
def bouncer(own_postgresql: PostgreSQL) -> Iterator[int]:
    with running_pgbouncer(own_postgresql.port) as port:
        yield port


def url_of(port: int, database: str = "postgres") -> str:
    return f"postgresql://postgres@127.0.0.1:{port}/{database}"


def answers(database: Database) -> bool:
    try:
        database.ping()
    except CheckFailed:
        return False
    return True


def test_more_clients_than_server_sessions(
    server: PostgreSQL, bouncer: int, open_url: Open
) -> None:
    """Each transaction may run in another session, so none may depend on the last session."""
    server.create_database("bounced")
    databases = [open_url(url_of(bouncer, "bounced"), database_pool_size=4) for _ in range(3)]
    assert upgrade(databases[0]) == "current"
    insert = text(
        "INSERT INTO agents (agent_id, name, steps, created_at, updated_at)"
        " VALUES (:id, 'n', '[]', now(), now())"
    )

    def write(number: int) -> None:
        database = databases[number % 3]
        database.run(lambda connection: connection.execute(insert, {"id": f"a{number}"}))
        database.ping()

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(12) as many:
        one.submit(write, -1).result(20)
        list(
            many.map(
                lambda n: databases[n % 3].run(
                    lambda connection: connection.execute(insert, {"id": f"a{n}"})
                ),
                range(200),
            )
        )

    with databases[0].read() as connection:
        assert connection.execute(text("SELECT count(*) FROM agents")).scalar() == 201
    assert {schema_state(database) for database in databases} == {"current"}


def test_replicas_migrate_through_it_at_the_same_time(
    server: PostgreSQL, bouncer: int, open_url: Open
) -> None:
    server.create_database("raced")
    databases = [open_url(url_of(bouncer, "raced")) for _ in range(6)]

    with ThreadPoolExecutor(6) as threads:
        states = list(threads.map(upgrade, databases))

    assert states == ["current"] * 6


def test_an_overdue_query_is_cancelled_through_it(bouncer: int, open_url: Open) -> None:
    """PgBouncer accepts no statement_timeout, so the client's deadline ends the query."""
    database = open_url(url_of(bouncer), database_query_timeout_seconds=0.3)
    start = time.monotonic()

    with pytest.raises(exc.OperationalError, match="canceling statement due to user request"):
        database.run(lambda connection: connection.execute(text("SELECT pg_sleep(20)")))

    assert time.monotonic() - start < scaled(5)
    assert database.run(lambda connection: connection.execute(text("SELECT 1")).scalar()) == 1


def test_no_setting_leaks_to_other_clients(bouncer: int, open_url: Open) -> None:
    """A SET would stay in a session that another client uses next."""
    database = open_url(url_of(bouncer), database_query_timeout_seconds=3.0)

    def timeout(database: Database) -> object:
        return database.run(lambda c: c.execute(text("SHOW statement_timeout")).scalar())

    assert {timeout(database) for _ in range(5)} == {"0"}


def test_a_restart_of_the_server_behind_it(
    server: PostgreSQL, bouncer: int, open_url: Open
) -> None:
    database = open_url(url_of(bouncer), database_check_timeout_seconds=1.0)
    database.ping()

    server.stop()
    with pytest.raises(CheckFailed):
        database.ping()
    server.start()

    wait_until(lambda: answers(database), seconds=5)
    assert database.run(lambda c: c.execute(text("SELECT 1")).scalar(), read_only=True) == 1


def test_the_connection_limit_of_pgbouncer(server: PostgreSQL, open_url: Open) -> None:
    with running_pgbouncer(server.port, max_client_conn="1") as port:
        first, second = open_url(url_of(port)), open_url(url_of(port))
        first.ping()

        with pytest.raises(CheckFailed, match="Database connection limit reached"):
            second.ping()


def test_all_sessions_of_pgbouncer_in_use(server: PostgreSQL, open_url: Open) -> None:
    """The ping waits in PgBouncer's queue and reports a timeout at its deadline."""
    with running_pgbouncer(server.port, default_pool_size="1") as port:
        database = open_url(url_of(port), database_check_timeout_seconds=1.0)
        taken, release = threading.Event(), threading.Event()

        def hold() -> None:
            with database.write() as connection:
                connection.execute(text("SELECT 1"))
                taken.set()
                release.wait(20)

        with ThreadPoolExecutor(1) as thread:
            holding = thread.submit(hold)
            taken.wait(10)
            with pytest.raises(CheckFailed, match="Database timeout"):
                database.ping()
            release.set()
            holding.result(10)
        database.ping()


def test_refused_session_options_are_not_sent_again(bouncer: int, open_url: Open) -> None:
    """Otherwise every connection would be made twice."""
    relay = Relay(bouncer)
    database = open_url(url_of(relay.port))

    for expected in (2, 3):
        database.run(lambda connection: connection.execute(text("SELECT 1")))
        database.engine.dispose()
        assert relay.accepted == expected
    relay.close()
