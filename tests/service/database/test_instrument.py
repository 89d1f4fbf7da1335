"""instrument_engine: every statement is timed and every connection counted, in any pool."""

from __future__ import annotations

import gc
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import pool as pools

from atom_platform.database import instrument
from atom_platform.database.instrument import instrument_engine, operation_of
from tests.support.forked import in_child
from tests.support.polling import wait_until
from tests.support.postgres import PostgreSQL

ONE = sa.text("SELECT 1")


class Instruments:
    """The values that the metrics received."""

    def __init__(self) -> None:
        self.queries: list[tuple[str, float]] = []
        self.pool: dict[str, int] = {}

    def observe_query(self, operation: str, seconds: float) -> None:
        self.queries.append((operation, seconds))

    def set_db_pool(self, **values: int) -> None:
        self.pool = values

    def counts(self) -> Counter[str]:
        return Counter(operation for operation, _ in self.queries)


@pytest.fixture(name="told")
def _told(monkeypatch: pytest.MonkeyPatch) -> Instruments:
    """Receive the values in place of the process-wide metrics; start without engines."""
    gc.collect()
    told = Instruments()
    monkeypatch.setattr(instrument, "observe_query", told.observe_query)
    monkeypatch.setattr(instrument, "set_db_pool", told.set_db_pool)
    monkeypatch.setattr(instrument, "_pools", [])
    return told


@pytest.fixture(name="make")
def _make(postgresql: PostgreSQL) -> Iterator[Callable[..., sa.Engine]]:
    """Return a function that makes an instrumented engine, as an application does."""
    engines: list[sa.Engine] = []

    def make(url: str | None = None, **options: Any) -> sa.Engine:
        url = url or postgresql.url().replace("postgresql", "postgresql+psycopg")
        engine = sa.create_engine(url, **options)
        engines.append(engine)
        instrument_engine(engine)
        return engine

    yield make
    for engine in engines:
        engine.dispose()


def pool(active: int, idle: int, maximum: int, waiting: int = 0) -> dict[str, int]:
    return {"active": active, "idle": idle, "maximum": maximum, "waiting": waiting}


def test_each_statement_counts_once(told: Instruments, make: Callable[..., sa.Engine]) -> None:
    engine = make("sqlite://")
    table = sa.Table("t", sa.MetaData(), sa.Column("a", sa.Integer))
    with engine.begin() as connection:
        table.create(connection, checkfirst=False)
        connection.execute(table.insert(), [{"a": n} for n in range(5)])  # one executemany
        connection.execute(table.insert().values(a=6))
        connection.execute(table.update().values(a=7))
        connection.execute(sa.select(table)).all()
        connection.exec_driver_sql("WITH x AS (SELECT 1) SELECT * FROM x").all()
        connection.execute(table.delete())

    assert told.counts() == {"other": 1, "insert": 2, "update": 1, "select": 2, "delete": 1}


def test_a_failed_statement_counts_once(told: Instruments, make: Callable[..., sa.Engine]) -> None:
    engine = make()
    with engine.connect() as connection:
        with pytest.raises(sa.exc.ProgrammingError):
            connection.execute(sa.text("SELECT * FROM no_such_table"))
        connection.rollback()
        connection.execute(ONE)

    assert told.counts() == {"select": 2}


def test_a_statement_that_fails_while_its_rows_are_read_counts_once(
    told: Instruments, make: Callable[..., sa.Engine]
) -> None:
    overflow = sa.text("SELECT 1 UNION ALL SELECT abs(-9223372036854775807 - 1)")
    with make("sqlite://").connect() as connection:
        result = connection.execute(overflow)
        with pytest.raises(sa.exc.OperationalError, match="overflow"):
            result.all()

    assert told.counts() == {"select": 1}


def test_the_duration_is_that_of_the_statement(
    told: Instruments, make: Callable[..., sa.Engine]
) -> None:
    with make().connect() as connection:
        connection.execute(sa.text("SELECT pg_sleep(0.3)"))

    [(_, seconds)] = told.queries
    assert 0.3 <= seconds < 3


def test_on_query_is_called_after_each_statement(told: Instruments) -> None:
    heard: list[float] = []
    engine = sa.create_engine("sqlite://")
    instrument_engine(engine, on_query=heard.append)

    with engine.connect() as connection:
        connection.execute(ONE)

    assert heard == [seconds for _, seconds in told.queries]
    engine.dispose()


def test_a_second_call_changes_nothing(told: Instruments, make: Callable[..., sa.Engine]) -> None:
    engine = make("sqlite://")
    instrument_engine(engine)

    with engine.connect() as connection:
        connection.execute(ONE)

    assert told.counts() == {"select": 1}


def test_threads_have_durations_of_their_own(
    told: Instruments, make: Callable[..., sa.Engine]
) -> None:
    engine = make(pool_size=5)

    def sleep(tenths: int) -> None:
        with engine.connect() as connection:
            connection.execute(sa.text(f"SELECT pg_sleep({tenths / 10})"))

    with ThreadPoolExecutor(5) as threads:
        list(threads.map(sleep, range(5)))

    least = sorted(seconds for _, seconds in told.queries)
    assert all(seconds >= tenths / 10 for tenths, seconds in enumerate(least))


def test_the_gauges_follow_the_pool(told: Instruments, make: Callable[..., sa.Engine]) -> None:
    engine = make(pool_size=2, max_overflow=1)
    assert told.pool == pool(0, 0, 3)

    with engine.connect():
        assert told.pool == pool(1, 0, 3)
        with engine.connect(), engine.connect():
            assert told.pool == pool(3, 0, 3)
        assert told.pool == pool(1, 2, 3)
    assert told.pool == pool(0, 2, 3)  # the overflow connection was closed

    engine.dispose()
    assert told.pool == pool(0, 0, 3)


def test_waiting_threads_are_counted(told: Instruments, make: Callable[..., sa.Engine]) -> None:
    engine = make(pool_size=1, max_overflow=0)

    def use() -> None:
        with engine.connect() as connection:
            connection.execute(ONE)

    for _ in range(2):
        with ThreadPoolExecutor(3) as threads:
            with engine.connect():
                waiting = [threads.submit(use) for _ in range(3)]
                wait_until(lambda: told.pool == pool(1, 0, 1, waiting=3))
            for each in waiting:
                each.result(10)
        assert told.pool == pool(0, 1, 1)
        engine.dispose()  # repeat with the new pool


def test_a_wait_that_times_out_is_counted_no_longer(
    told: Instruments, make: Callable[..., sa.Engine]
) -> None:
    engine = make(pool_size=1, max_overflow=0, pool_timeout=0.1)

    with engine.connect():
        with pytest.raises(sa.exc.TimeoutError):
            engine.connect()
        assert told.pool == pool(1, 0, 1)


def test_a_lost_connection_is_not_idle(told: Instruments, make: Callable[..., sa.Engine]) -> None:
    engine = make(pool_size=2)
    with engine.connect() as connection:
        connection.invalidate()
        assert told.pool == pool(0, 0, 12)
        connection.execute(ONE)
        assert told.pool == pool(1, 0, 12)
    assert told.pool == pool(0, 1, 12)


def test_a_session_ended_by_the_server_is_closed(
    told: Instruments, make: Callable[..., sa.Engine], postgresql: PostgreSQL
) -> None:
    engine = make(pool_size=2)
    with engine.connect() as connection:
        pid = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar()
        postgresql.execute(f"SELECT pg_terminate_backend({pid})")
        with pytest.raises(sa.exc.OperationalError):
            connection.execute(ONE)
    assert told.pool == pool(0, 0, 12)
    assert told.counts() == {"select": 2}


def test_a_detached_connection_is_not_counted(
    told: Instruments, make: Callable[..., sa.Engine]
) -> None:
    with make().connect() as connection:
        connection.detach()
        assert told.pool == pool(0, 0, 15)
    assert told.pool == pool(0, 0, 15)


def test_a_pool_disposed_of_while_in_use(told: Instruments, make: Callable[..., sa.Engine]) -> None:
    engine = make(pool_size=2)
    connection = engine.connect()
    engine.dispose()
    assert told.pool["active"] == 1
    connection.invalidate()
    connection.close()
    del connection
    gc.collect()

    with engine.connect():
        assert told.pool == pool(1, 0, 12)


@pytest.mark.parametrize(
    ("options", "maximum"),
    [
        pytest.param({"poolclass": pools.NullPool}, 0, id="null"),
        pytest.param({"poolclass": pools.StaticPool}, 1, id="static"),
        pytest.param({"poolclass": pools.SingletonThreadPool, "pool_size": 4}, 4, id="per-thread"),
        pytest.param({"poolclass": pools.AssertionPool}, 1, id="assertion"),
        pytest.param({"pool_size": 0}, 0, id="unlimited"),
    ],
)
def test_every_kind_of_pool(
    told: Instruments, make: Callable[..., sa.Engine], options: dict[str, Any], maximum: int
) -> None:
    engine = make(**options)

    with engine.connect() as connection:
        connection.execute(ONE)
        assert told.pool == pool(1, 0, maximum)

    assert told.pool["active"] == 0
    assert told.counts() == {"select": 1}


def test_engines_are_summed_until_they_are_collected(
    told: Instruments, make: Callable[..., sa.Engine]
) -> None:
    first = make(pool_size=2, max_overflow=0)
    second = sa.create_engine(first.url, pool_size=3, max_overflow=0)
    instrument_engine(second)
    with first.connect(), second.connect():
        assert told.pool == pool(2, 0, 5)
    assert told.pool == pool(0, 2, 5)

    second.dispose()
    del second
    gc.collect()

    with first.connect():
        assert told.pool == pool(1, 0, 2)


def test_a_forked_child_starts_from_nothing(
    told: Instruments, make: Callable[..., sa.Engine]
) -> None:
    engine = make(pool_size=2, max_overflow=0)
    with engine.connect():

        def child() -> dict[str, int]:
            engine.dispose(close=False)
            with engine.connect() as connection:
                connection.execute(ONE)
                return told.pool

        assert in_child(child) == pool(1, 0, 2)
        assert told.pool == pool(1, 0, 2)


def test_many_threads_leave_the_count_right(
    told: Instruments, make: Callable[..., sa.Engine]
) -> None:
    engine = make(pool_size=3, max_overflow=1)
    start = threading.Barrier(8)

    def work() -> None:
        start.wait(10)
        for _ in range(40):
            with engine.connect() as connection:
                connection.execute(ONE)

    with ThreadPoolExecutor(8) as threads:
        for each in [threads.submit(work) for _ in range(8)]:
            each.result(60)

    assert told.pool["active"] == told.pool["waiting"] == 0
    assert told.pool["idle"] == engine.pool.checkedin()  # type: ignore[attr-defined]  # a QueuePool
    assert told.counts() == {"select": 320}


@pytest.mark.parametrize(
    ("statement", "operation"),
    [
        ("SELECT 1", "select"),
        ("insert into t values (1)", "insert"),
        ("  \n\tUpdate t SET a = 1", "update"),
        ("DELETE\nFROM t", "delete"),
        ("INSERT OR REPLACE INTO t VALUES (1)", "insert"),
        ("(SELECT 1) UNION (SELECT 2)", "select"),
        ("((select 1))", "select"),
        ("-- DELETE it\nSELECT 1", "select"),
        ("/* UPDATE\n */ /* again */ insert into t values (1)", "insert"),
        ("WITH a AS (SELECT 1) SELECT * FROM a", "select"),
        ("with recursive a(n) as (select 1), b as (select 2) delete from t", "delete"),
        ("WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone", "select"),
        ("WITH a AS (SELECT ')') INSERT INTO t SELECT * FROM a", "insert"),
        ('WITH "select" AS (SELECT 1) UPDATE t SET a = 1', "update"),
        ("WITH a AS (SELECT $x$ ) DELETE $x$) UPDATE t SET a = 1", "update"),
        ("WITH a AS (SELECT 1 -- ) delete\n) INSERT INTO t SELECT 1", "insert"),
        ("EXPLAIN SELECT 1", "other"),
        ("BEGIN IMMEDIATE", "other"),
        ("VALUES (1)", "other"),
        ("CREATE TABLE selected (a int)", "other"),
        ("selectively", "other"),
        ("WITH", "other"),
        ("", "other"),
        ("'select'", "other"),
        ("/* unfinished", "other"),
    ],
)
def test_operation(statement: str, operation: str) -> None:
    assert operation_of(statement) == operation


def test_a_long_statement_costs_no_more_than_reading_it() -> None:
    """Generated lists of values are long; only the first word matters."""
    statement = "WITH a AS (VALUES " + "(1, 'x'), " * 100_000 + "(1, 'x')) SELECT 1"

    assert operation_of(statement) == "select"
