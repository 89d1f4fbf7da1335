"""EngineCheck: the check of an application's engine has its own connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, text

from atom_platform.database.engine_check import EngineCheck
from atom_platform.health.check import CheckFailed
from tests.support.polling import wait_until
from tests.support.postgres import PostgreSQL
from tests.support.relay import Relay
from tests.support.stalls import scaled


@pytest.fixture(name="engine")
def _engine(relay: Relay, server: PostgreSQL) -> Iterator[Engine]:
    """An engine with one connection, whose credentials come from a `do_connect` listener."""
    engine = create_engine(
        f"postgresql+psycopg://nobody@127.0.0.1:{relay.port}/postgres",
        pool_size=1,
        max_overflow=0,
        pool_timeout=0.1,
        connect_args={"connect_timeout": 30, "application_name": "atom-test-adopted"},
    )

    @event.listens_for(engine, "do_connect")
    def _who(_dialect: object, _record: object, _args: object, options: dict[str, object]) -> None:
        options["user"] = "postgres"

    yield engine
    engine.dispose()


def test_an_exhausted_pool_is_no_outage(engine: Engine) -> None:
    check = EngineCheck(engine)

    with engine.connect():
        result = check()

    assert (result.healthy, result.message) == (True, "Database accessible")
    check.close()


def test_leaves_no_transaction_open(engine: Engine) -> None:
    """A session that is idle in a transaction blocks vacuum as long as the worker lives."""
    check = EngineCheck(engine)
    check()

    with engine.connect() as connection:
        states = connection.scalars(
            text(
                "SELECT state FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND application_name = 'atom-test-adopted'"
            )
        ).all()

    assert states == ["idle"]
    check.close()


def test_a_connection_lost_between_two_runs_is_no_outage(engine: Engine) -> None:
    check = EngineCheck(engine)
    check()
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND application_name = 'atom-test-adopted'"
            )
        )

    assert check().healthy
    check.close()


def test_a_stopped_server_has_a_fixed_message(engine: Engine, relay: Relay) -> None:
    check = EngineCheck(engine)
    check()
    relay.close()

    with pytest.raises(CheckFailed, match=r"^Database (refused the connection|connection lost)$"):
        check()
    check.close()


def test_cancel_ends_the_wait_for_a_silent_server(engine: Engine, server: PostgreSQL) -> None:
    check = EngineCheck(engine)
    check()
    ended: list[str] = []

    def wait() -> None:
        try:
            check()
        except CheckFailed as error:
            ended.append(str(error))

    def cancelled() -> bool:
        check.cancel()
        return bool(ended)

    thread = threading.Thread(target=wait)
    server.freeze()
    thread.start()
    try:
        wait_until(cancelled, seconds=60)
    finally:
        server.resume()
    thread.join(scaled(60))

    assert check().healthy
    check.close()


def test_any_database_is_supported(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    check = EngineCheck(engine)

    assert [check().healthy for _ in range(3)] == [True] * 3
    check.close()
    engine.dispose()


def test_a_database_that_cannot_be_opened_is_unhealthy(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/missing/shop.db")

    with pytest.raises(CheckFailed, match=r"^Database file not accessible$"):
        EngineCheck(engine)()
