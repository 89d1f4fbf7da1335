"""The ping reports within its deadline, in fixed messages, whether PostgreSQL answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psycopg
import pytest

from atom_platform.database.engine import Database
from atom_platform.health.check import CheckFailed
from tests.support.polling import wait_until
from tests.support.postgres import PostgreSQL
from tests.support.relay import Relay
from tests.support.stalls import scaled

Open = Callable[..., Database]


def sentence(database: Database) -> str:
    """Return the message of the failed ping."""
    with pytest.raises(CheckFailed) as caught:
        database.ping()
    return str(caught.value)


def cancel_until(database: Database, ended: threading.Event) -> None:
    while not ended.wait(0.1):
        database.ping.cancel()


def backends(server: PostgreSQL) -> int:
    """Return the number of other sessions."""
    with psycopg.connect(server.url()) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_the_ping_keeps_one_connection(server: PostgreSQL, open_url: Open) -> None:
    database = open_url(server.url())
    before = backends(server)

    for _ in range(20):
        database.ping()

    assert backends(server) == before + 1


def test_the_ping_does_not_use_the_pool(server: PostgreSQL, open_url: Open) -> None:
    """Readiness must not queue behind the work."""
    database = open_url(server.url(), database_pool_size=1, database_pool_timeout_seconds=0.1)

    with database.write():
        database.ping()


def test_a_stopped_server_refuses_the_connection(server: PostgreSQL, open_url: Open) -> None:
    database = open_url(server.url())
    database.ping()

    server.stop()

    assert sentence(database) == "Database refused the connection"

    server.start()
    database.ping()


def test_a_restart_between_two_runs_is_no_outage(server: PostgreSQL, open_url: Open) -> None:
    """The old connection is dead; a new one is accepted."""
    database = open_url(server.url())
    database.ping()

    server.stop()
    server.start()

    database.ping()


def test_a_frozen_server_is_a_timeout_at_the_deadline(server: PostgreSQL, open_url: Open) -> None:
    database = open_url(server.url(), database_check_timeout_seconds=1.0)
    database.ping()
    server.freeze()
    start = time.monotonic()

    said = sentence(database)

    assert said == "Database timeout after 1.0s"
    assert 1.0 <= time.monotonic() - start < scaled(2.5)
    assert sentence(database) == said  # a new connection fails too
    server.resume()
    database.ping()


def test_a_silent_network_is_a_timeout(server: PostgreSQL, relay: Relay, open_url: Open) -> None:
    database = open_url(
        server.url().replace(str(server.port), str(relay.port)), database_check_timeout_seconds=1.0
    )
    database.ping()
    relay.fall_silent()

    assert [sentence(database) for _ in range(2)] == ["Database timeout after 1.0s"] * 2
    assert wait_until(lambda: relay.open == 0)  # no connection is left behind

    relay.speak()
    database.ping()


def test_cancel_ends_a_run_at_once(server: PostgreSQL, relay: Relay, open_url: Open) -> None:
    """Of both waits: for an answer, and for a connection."""
    database = open_url(server.url().replace(str(server.port), str(relay.port)))
    database.ping()
    relay.fall_silent()

    for _ in ("answer", "connection"):
        ended = threading.Event()
        canceller = threading.Thread(target=cancel_until, args=(database, ended))
        start = time.monotonic()
        canceller.start()
        sentence(database)
        ended.set()
        canceller.join()

        assert time.monotonic() - start < scaled(1.7)  # the deadline is 5


def test_cancel_between_two_runs_has_no_effect(server: PostgreSQL, open_url: Open) -> None:
    database = open_url(server.url())
    database.ping.cancel()

    database.ping()
    database.ping.cancel()
    database.ping()


def test_wrong_password(server: PostgreSQL, open_url: Open, scram_url: str) -> None:
    database = open_url(scram_url.replace("right", "wrong"))

    assert sentence(database) == "Database authentication failed"
    open_url(scram_url).ping()


def test_no_password(server: PostgreSQL, open_url: Open, scram_url: str) -> None:
    assert sentence(open_url(scram_url.replace(":right", ""))) == "Database authentication failed"


def test_unknown_user(server: PostgreSQL, open_url: Open) -> None:
    assert sentence(open_url(server.url(user="nobody"))) == "Database authentication failed"


def test_unknown_database(server: PostgreSQL, open_url: Open) -> None:
    assert sentence(open_url(server.url("no_such"))) == "Database does not exist"


def test_unknown_host(open_url: Open) -> None:
    database = open_url("postgresql://postgres@no-such-host.invalid/postgres")

    assert sentence(database) == "Database host not resolvable"


def test_connection_limit(server: PostgreSQL, open_url: Open) -> None:
    server.execute("DROP ROLE IF EXISTS limited")
    server.execute("CREATE ROLE limited LOGIN CONNECTION LIMIT 1")
    url = server.url(user="limited")

    with psycopg.connect(url):
        assert sentence(open_url(url)) == "Database connection limit reached"


def test_a_slow_answer_within_the_deadline_is_healthy(server: PostgreSQL, open_url: Open) -> None:
    database = open_url(server.url(), database_check_timeout_seconds=10.0)
    database.ping()
    server.freeze()
    threading.Timer(0.5, server.resume).start()
    start = time.monotonic()

    database.ping()

    assert time.monotonic() - start > 0.3


def test_the_message_repeats_nothing_of_the_url(server: PostgreSQL, open_url: Open) -> None:
    """The cause has the details, for the log."""
    database = open_url(f"postgresql://secret_user:secret_word@127.0.0.1:{server.port}/secret_name")

    with pytest.raises(CheckFailed) as caught:
        database.ping()

    assert "secret" not in str(caught.value)
    assert "secret_user" in str(caught.value.__cause__)
    assert "secret_word" not in str(caught.value.__cause__)
