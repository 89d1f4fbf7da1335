"""The application's database: one interface to PostgreSQL and SQLite."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, exc

from atom_platform.database.errors import ConnectionLost
from atom_platform.database.ping import Ping, PostgresPing, SqlitePing
from atom_platform.database.pool import DatabasePool, migration_engine
from atom_platform.database.pool_health import PoolAction
from atom_platform.database.postgres.addresses import parse_url, shorten_resolver_timeout
from atom_platform.database.sqlite import READ_ONLY, path_of
from atom_platform.forking import at_fork
from atom_platform.settings import BAD_DATABASE_OPTION, Settings, SettingsError

__all__ = ["Database", "open_database"]

log = logging.getLogger("atom_platform.database")

T = TypeVar("T")

#: Pools inherited from the parent; kept, because collecting them would close their connections.
_INHERITED: Final[list[object]] = []

_databases: weakref.WeakSet[Database] = weakref.WeakSet()


def open_database(settings: Settings) -> Database:
    """
    Return the database of *settings*; nothing is connected yet.

    Raises:
        SettingsError: The driver does not accept DATABASE_URL.
    """
    shorten_resolver_timeout()
    try:
        return Database(settings)
    except ValueError:
        raise SettingsError(BAD_DATABASE_OPTION) from None


class Database:
    """
    A pool and a ping, both opened at first use, in the process that uses them.

    A forked child opens connections of its own and leaves its parent's as they are.

    Attributes:
        ping: The round trip of the readiness check.
        is_sqlite: Whether it is a file or in memory, and not a server.
    """

    def __init__(self, settings: Settings) -> None:
        url = settings.database_url
        self.is_sqlite = url.startswith("sqlite")
        self._path = path_of(url) if self.is_sqlite else None
        self._settings = settings
        self._lock = threading.RLock()
        self._pool: DatabasePool | None = None
        self._on_open: list[Callable[[Engine], None]] = []
        self._ping_works = True
        self._restart_worker: Callable[[], None] = lambda: None
        seconds = settings.database_check_timeout_seconds
        self.ping: Ping
        if self.is_sqlite:
            self.ping = SqlitePing(self._path, timeout_seconds=seconds, on_result=self._on_ping)
        else:
            server = parse_url(url, statement_timeout_seconds=seconds)
            self.ping = PostgresPing(server, timeout_seconds=seconds, on_result=self._on_ping)
        _databases.add(self)

    @property
    def engine(self) -> Engine:
        """The engine of this process; it connects when a connection is needed."""
        return self._open_pool().engine

    def on_open(self, prepare: Callable[[Engine], None]) -> None:
        """Call *prepare* with the engine of each process when it is opened."""
        with self._lock:
            self._on_open.append(prepare)
            if self._pool is not None:
                prepare(self._pool.engine)

    def on_pool_broken(self, restart_worker: Callable[[], None]) -> None:
        """Call *restart_worker*, in the ping's thread, when the pool does not recover."""
        self._restart_worker = restart_worker

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """
        Yield a connection for reading; on SQLite it never waits for a writer.

        Each statement is its own transaction, which saves two round trips on PostgreSQL.
        """
        with self._connect() as connection:
            options: dict[str, Any] = {READ_ONLY: True}
            if not self.is_sqlite:
                options["isolation_level"] = "AUTOCOMMIT"
            yield connection.execution_options(**options)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection in a transaction, which is committed unless an error is raised."""
        with self._connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """
        Yield a connection in a transaction, for statements that may take up to an hour.

        It is not part of the pool. SQLite's file and its directory are created when missing.
        """
        if self.is_sqlite and self._path is None:  # in memory, there is no second connection
            with self.write() as connection:
                yield connection
            return
        engine = migration_engine(self._settings, path=self._path)
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()

    def run(
        self, work: Callable[[Connection], T], *, read_only: bool = False, idempotent: bool = False
    ) -> T:
        """
        Call *work* with a connection, in one transaction, and return its result.

        Args:
            work: Called again with a new connection if the first one is lost and it is idempotent.
            read_only: Whether it only reads, and so is idempotent.
            idempotent: Whether it may run twice. When the connection is lost, it is unknown whether
                the first transaction was committed.
        """
        begin = self.read if read_only else self.write
        try:
            with begin() as connection:
                return work(connection)
        except exc.DBAPIError as error:
            if not error.connection_invalidated or not (idempotent or read_only):
                raise
            log.info("database_work_repeated")
        with begin() as connection:
            return work(connection)

    def dispose(self) -> None:
        """Close the connections of this process; the next use opens new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.engine.dispose()
        self.ping.cancel()
        self.ping.close()

    def _open_pool(self) -> DatabasePool:
        pool = self._pool
        if pool is None:
            with self._lock:
                pool = self._pool
                if pool is None:
                    pool = DatabasePool(self._settings, path=self._path)
                    for prepare in self._on_open:
                        prepare(pool.engine)
                    self._pool = pool
        return pool

    def _connect(self) -> Connection:
        """Return a connection of the pool; report a failure to the pool's health."""
        pool = self._open_pool()
        try:
            return pool.engine.connect()
        except exc.TimeoutError:
            pool.health.record_exhausted()
            raise
        except exc.InvalidRequestError as error:  # every connection was dead, new ones too
            pool.health.record_failure()
            lost = ConnectionLost("connections are lost as soon as they are made")
            raise exc.OperationalError(None, None, lost, connection_invalidated=True) from error

    def _on_ping(self, works: bool) -> None:
        """Repair the pool after a ping; runs in the ping's thread."""
        worked, self._ping_works = self._ping_works, works
        pool = self._pool
        if pool is None:
            return
        if not works:
            pool.health.record_ping_failure()
            return
        try:
            if not worked:
                pool.abandon_hung(self.ping)
            if pool.evaluate(self.ping) is PoolAction.RESTART_WORKER:
                log.critical("database_pool_not_recovered")
                self._restart_worker()
        except Exception:  # a defect of the pool must not fail the database check
            log.exception("database_pool_repair_failed")

    def _after_fork(self) -> None:
        """Begin without connections in a child, and leave the parent's open."""
        _INHERITED.append((self._pool, self._lock))
        self._lock = threading.RLock()
        self._pool = None
        self._ping_works = True
        self.ping.after_fork()


def _after_fork_in_child() -> None:
    for database in list(_databases):
        database._after_fork()


at_fork("database_engine", after_in_child=_after_fork_in_child)
