"""The application's PostgreSQL: the cost of a fault, and the time of its recovery."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import Connection, exc, text

from atom_platform.database.engine import Database
from atom_platform.health.check import CheckFailed
from tests.support.forked import in_child
from tests.support.polling import wait_until
from tests.support.postgres import PostgreSQL
from tests.support.relay import Relay
from tests.support.stalls import scaled

Open = Callable[..., Database]

ANSWER = text("SELECT 42")
#: Without the server's own timeout, as behind a PgBouncer, only the client's is left.
PATIENT_SERVER = "?options=-c%20statement_timeout%3D0"


def answer(connection: Connection) -> Any:
    return connection.execute(ANSWER).scalar()


def backend(connection: Connection) -> Any:
    return connection.execute(text("SELECT pg_backend_pid()")).scalar()


def through(relay: Relay, server: PostgreSQL) -> str:
    return server.url().replace(str(server.port), str(relay.port))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_usual_scheme(server: PostgreSQL, open_url: Open, scheme: str) -> None:
    database = open_url(server.url().replace("postgresql", scheme, 1))

    assert database.run(answer) == 42
    database.ping()


def test_a_socket_directory(server: PostgreSQL, open_url: Open) -> None:
    database = open_url(
        f"postgresql:///postgres?host={server.directory}&port={server.port}&user=postgres"
    )

    assert database.run(answer) == 42


def test_a_write_is_one_transaction(server: PostgreSQL, open_url: Open) -> None:
    database = open_url(server.create_database("transactions"))
    with database.write() as connection:
        connection.execute(text("CREATE TABLE t (a int)"))

    def half(connection: Connection) -> None:
        connection.execute(text("INSERT INTO t VALUES (1)"))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        database.run(half)

    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM t")).scalar() == 0


def test_a_read_leaves_no_transaction_open(server: PostgreSQL, open_url: Open) -> None:
    """An idle transaction would hold back the server's housekeeping."""
    database = open_url(server.url(), database_pool_size=1)

    with database.read() as connection:
        connection.execute(ANSWER)
        state = "SELECT state FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query = :q"
        with open_url(server.url()).read() as other:
            states = other.execute(text(state), {"q": "SELECT 42"}).scalars().all()

    assert set(states) == {"idle"}


def test_the_server_ends_an_overdue_query(server: PostgreSQL, open_url: Open) -> None:
    database = open_url(server.url(), database_query_timeout_seconds=0.3, database_pool_size=1)
    before = database.run(backend)

    with pytest.raises(exc.OperationalError, match="statement timeout"):
        database.run(lambda connection: connection.execute(text("SELECT pg_sleep(20)")))

    assert database.run(backend) == before


def test_the_client_ends_an_overdue_query_that_the_server_does_not(
    server: PostgreSQL, open_url: Open
) -> None:
    """It is cancelled on the server; the connection lives on."""
    database = open_url(
        server.url() + PATIENT_SERVER, database_query_timeout_seconds=0.3, database_pool_size=1
    )
    before = database.run(backend)
    start = time.monotonic()

    with pytest.raises(exc.OperationalError, match="canceling statement due to user request"):
        database.run(lambda connection: connection.execute(text("SELECT pg_sleep(20)")))

    assert time.monotonic() - start < scaled(5)
    assert database.run(backend) == before


def test_a_query_to_a_silent_server_ends(server: PostgreSQL, relay: Relay, open_url: Open) -> None:
    database = open_url(through(relay, server), database_query_timeout_seconds=0.3)
    with database.read() as connection:
        relay.freeze_open()
        start = time.monotonic()

        with pytest.raises(exc.OperationalError) as caught:
            connection.execute(ANSWER)

    assert caught.value.connection_invalidated
    # The timeout, its grace, and two seconds of cancelling.
    assert time.monotonic() - start < scaled(6)
    assert database.run(answer) == 42


def test_connections_that_died_while_idle_are_detected(
    server: PostgreSQL, relay: Relay, open_url: Open
) -> None:
    """A firewall drops them silently; the next request waits a second, not half a minute."""
    database = open_url(through(relay, server), database_pool_size=8)
    with ExitStack() as stack:
        for _ in range(8):
            answer(stack.enter_context(database.read()))
    relay.freeze_open()
    rested = time.monotonic() + 1.1
    wait_until(lambda: time.monotonic() > rested)
    start = time.monotonic()

    assert [database.run(answer) for _ in range(8)] == [42] * 8

    assert time.monotonic() - start < scaled(4)  # one second for all of them, not one each


def test_a_restart_fails_no_request_on_an_idle_connection(
    server: PostgreSQL, open_url: Open
) -> None:
    database = open_url(server.url())
    with database.read() as one, database.read() as two:
        assert answer(one) == answer(two) == 42

    server.stop()
    server.start()

    assert [database.run(answer) for _ in range(4)] == [42] * 4


def test_a_restart_under_traffic(server: PostgreSQL, open_url: Open) -> None:
    """Repeatable work never fails; otherwise at most the work in flight on each connection."""
    database = open_url(server.url(), database_pool_size=4)
    done: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    stop = threading.Event()

    def work(kind: str) -> None:
        while not stop.is_set():
            try:
                assert database.run(answer, idempotent=kind == "repeatable") == 42
                done[kind] += 1
            except exc.SQLAlchemyError:
                failed[kind] += 1

    with ThreadPoolExecutor(4) as threads:
        for kind in ("repeatable", "once") * 2:
            threads.submit(work, kind)
        try:
            wait_until(lambda: min(done["repeatable"], done["once"]) > 20)
            server.stop()
            server.start()
            before = Counter(done)
            wait_until(
                lambda: all(done[kind] > before[kind] + 20 for kind in ("repeatable", "once"))
            )
        finally:
            stop.set()

    assert failed["repeatable"] == 0
    assert failed["once"] <= 4


def test_in_a_long_outage_connecting_fails_at_once(server: PostgreSQL, open_url: Open) -> None:
    """Only a restart is waited for."""
    database = open_url(server.url())
    server.stop()
    with pytest.raises(exc.OperationalError, match="refused"):
        database.run(answer)
    start = time.monotonic()

    with pytest.raises(exc.OperationalError, match="refused"):
        database.run(answer)

    assert time.monotonic() - start < scaled(1)
    server.start()
    assert database.run(answer) == 42


def test_recovery_abandons_queries_lost_in_the_outage(
    server: PostgreSQL, relay: Relay, open_url: Open
) -> None:
    """
    All connections wait on a network that has forgotten them, and all places of the pool are taken.

    The queries' own timeout is far away; it is the ping that knows that the outage is over.
    """
    database = open_url(
        through(relay, server),
        database_check_timeout_seconds=1.0,
        database_pool_size=2,
        database_pool_timeout_seconds=20.0,
    )
    database.ping()
    with database.read() as one, database.read() as two:
        assert answer(one) == answer(two) == 42

    with ThreadPoolExecutor(4) as threads:
        relay.fall_silent()
        waiting = [threads.submit(database.run, answer, idempotent=True) for _ in range(4)]
        with pytest.raises(CheckFailed):
            database.ping()
        assert not any(each.done() for each in waiting)

        relay.speak()
        start = time.monotonic()
        database.ping()

        assert [each.result(10) for each in waiting] == [42] * 4
        assert time.monotonic() - start < scaled(3)


def test_recovery_restarts_connection_attempts(
    server: PostgreSQL, relay: Relay, open_url: Open
) -> None:
    """A handshake begun in the outage is never answered; a new one is."""
    database = open_url(through(relay, server), database_check_timeout_seconds=1.0)
    database.run(answer)
    database.engine.dispose()
    relay.fall_silent()

    with ThreadPoolExecutor(2) as threads:
        before = relay.accepted
        waiting = [threads.submit(database.run, answer) for _ in range(2)]
        wait_until(lambda: relay.accepted == before + 2)
        with pytest.raises(CheckFailed):
            database.ping()
        relay.speak()
        database.ping()

        assert [each.result(10) for each in waiting] == [42] * 2


def test_recovery_keeps_active_queries(server: PostgreSQL, open_url: Open) -> None:
    """The ping may have failed alone."""
    database = open_url(server.url())
    database.ping()

    with ThreadPoolExecutor(1) as thread:
        long = thread.submit(
            database.run, lambda c: c.execute(text("SELECT pg_sleep(2.5), 7")).one()[1]
        )
        wait_until(lambda: database._pool is not None and database._pool._factory is not None)
        source = database._pool._factory  # type: ignore[union-attr]  # just seen
        assert source is not None
        wait_until(lambda: database.ping.active_backends(source.busy()))
        database._on_ping(False)
        database._on_ping(True)

        assert long.result(20) == 7


def test_a_full_pool_times_out(server: PostgreSQL, open_url: Open) -> None:
    database = open_url(server.url(), database_pool_size=1, database_pool_timeout_seconds=0.2)

    with database.read(), pytest.raises(exc.TimeoutError):
        database.run(answer)


def test_a_child_has_connections_of_its_own(server: PostgreSQL, open_url: Open) -> None:
    """For the ping and the pool; the parent's connections still work after the child has ended."""
    database = open_url(server.create_database("forked"), database_pool_size=1)
    database.ping()
    mine = database.run(backend)
    sessions = text("SELECT count(*) FROM pg_stat_activity WHERE datname = 'forked'")

    def child() -> list[int]:
        database.ping()
        found = [database.run(backend), database.run(lambda c: c.execute(sessions).scalar())]
        database.dispose()
        return found

    theirs, count = in_child(child)

    assert theirs != mine
    assert count == 4
    assert database.run(backend) == mine
    database.ping()


def test_the_first_of_several_hosts_is_down(server: PostgreSQL, open_url: Open) -> None:
    relay = Relay(server.port)
    relay.close()
    url = f"postgresql://postgres@127.0.0.1:{relay.port},127.0.0.1:{server.port}/postgres"
    database = open_url(url)

    assert database.run(answer) == 42
    database.ping()


def test_several_hosts_share_the_deadline(server: PostgreSQL, relay: Relay, open_url: Open) -> None:
    """A silent host takes its share of the deadline, and is tried last from then on."""
    relay.fall_silent()
    url = f"postgresql://postgres@127.0.0.1:{relay.port},127.0.0.1:{server.port}/postgres"
    database = open_url(url, database_check_timeout_seconds=2.0)
    start = time.monotonic()

    database.ping()
    first = time.monotonic() - start
    database.ping.close()
    database.ping()

    assert 1.0 <= first < 2.2
    assert relay.accepted == 1


def test_target_session_attrs_selects_the_host(server: PostgreSQL, open_url: Open) -> None:
    hosts = f"127.0.0.1:{server.port},127.0.0.1:{server.port}"
    url = f"postgresql://postgres@{hosts}/postgres?target_session_attrs="

    assert open_url(url + "read-write").run(answer) == 42
    assert open_url(url + "prefer-standby").run(answer) == 42
    with pytest.raises(CheckFailed, match="Database has not the wanted role"):
        open_url(url + "standby").ping()
