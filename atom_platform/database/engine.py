"""The application's way to its database: one code path, whichever of the two it is."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, exc

from atom_platform.database.blame import Verdict
from atom_platform.database.failure import ConnectionLost
from atom_platform.database.ping import Ping, PostgresPing, SqlitePing
from atom_platform.database.pool import Pool, migration_engine
from atom_platform.database.resolver import ask_often
from atom_platform.database.server import server_of
from atom_platform.database.sqlite import READ_ONLY, path_of
from atom_platform.forking import at_fork
from atom_platform.settings import (
    BAD_DATABASE_OPTION,
    DEFAULT_DATABASE_URL,
    Settings,
    SettingsError,
)

__all__ = ["Database", "open_database"]

log = logging.getLogger("atom_platform.database")

T = TypeVar("T")

#: What a child got from its parent: kept, because to collect it is to close it.
_INHERITED: Final[list[object]] = []

_databases: weakref.WeakSet[Database] = weakref.WeakSet()


def open_database(settings: Settings) -> Database:
    """
    Return the database the settings name; nothing is connected yet.

    Raises:
        SettingsError: DATABASE_URL is one that the driver does not take.
    """
    ask_often()
    try:
        return Database(settings)
    except ValueError:
        raise SettingsError(BAD_DATABASE_OPTION) from None


class Database:
    """
    A pool and a ping, both opened at first use and in the process that uses them.

    A forked child never touches its parent's connections: it opens its own, and the parent's stay
    as they are.

    Attributes:
        ping: What the readiness check asks.
        url_is_embedded: Whether it is the default, which migrates itself.
        is_sqlite: Whether it is a file of this machine.
    """

    def __init__(self, settings: Settings) -> None:
        url = settings.database_url
        self.url_is_embedded = url == DEFAULT_DATABASE_URL
        self.is_sqlite = url.startswith("sqlite")
        self._path = path_of(url) if self.is_sqlite else None
        self._settings = settings
        self._lock = threading.RLock()
        self._pool: Pool | None = None
        self._on_open: list[Callable[[Engine], None]] = []
        self._ping_works = True
        self._end_worker: Callable[[], None] = lambda: None
        seconds = settings.database_check_timeout_seconds
        self.ping: Ping
        if self.is_sqlite:
            self.ping = SqlitePing(self._path, timeout_seconds=seconds, told=self._ping_told)
        else:
            server = server_of(url, statement_timeout_seconds=seconds)
            self.ping = PostgresPing(server, timeout_seconds=seconds, told=self._ping_told)
        _databases.add(self)

    @property
    def engine(self) -> Engine:
        """The engine of this process; its connections are made when work needs them."""
        return self._open_pool().engine

    def on_open(self, prepare: Callable[[Engine], None]) -> None:
        """Have *prepare* called with each process's engine when it is opened."""
        with self._lock:
            self._on_open.append(prepare)
            if self._pool is not None:
                prepare(self._pool.engine)

    def when_wedged(self, end_worker: Callable[[], None]) -> None:
        """Have *end_worker* called, in the ping's thread, when the pool is beyond repair."""
        self._end_worker = end_worker

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """
        Yield a connection to read from, which never waits for a writer.

        Each statement is a transaction of its own, which on PostgreSQL saves two round trips.
        """
        with self._connect() as connection:
            options: dict[str, Any] = {READ_ONLY: True}
            if not self.is_sqlite:
                options["isolation_level"] = "AUTOCOMMIT"
            yield connection.execution_options(**options)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection in a transaction, committed at the end unless there is an error."""
        with self._connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """
        Yield a connection in a transaction, for statements that may take long.

        It is not one of the pool's. SQLite's file is made, with its directory, if it is missing.
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
        Return what *work* makes of a connection, in one transaction.

        Args:
            work: May be called twice if idempotent, each time with a connection of its own.
            read_only: Whether it only reads; if so it is idempotent.
            idempotent: Whether doing it twice does no harm: if the connection is lost on the way,
                nobody knows whether the first one was done.
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
        """Close what this process has opened; the next use opens it anew."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.engine.dispose()
        self.ping.cancel()
        self.ping.close()

    def _open_pool(self) -> Pool:
        pool = self._pool
        if pool is None:
            with self._lock:
                pool = self._pool
                if pool is None:
                    pool = Pool(self._settings, path=self._path)
                    for prepare in self._on_open:
                        prepare(pool.engine)
                    self._pool = pool
        return pool

    def _connect(self) -> Connection:
        pool = self._open_pool()
        try:
            return pool.engine.connect()
        except exc.TimeoutError:
            pool.blame.pool_exhausted()
            raise
        except exc.InvalidRequestError as error:  # each connection was dead, also the newest ones
            pool.blame.pool_failed()
            lost = ConnectionLost("connections are lost as soon as they are made")
            raise exc.OperationalError(None, None, lost, connection_invalidated=True) from error

    def _ping_told(self, works: bool) -> None:
        """Mend the pool by what a ping has found; runs in the ping's thread."""
        worked, self._ping_works = self._ping_works, works
        pool = self._pool
        if pool is None:
            return
        if not works:
            pool.blame.ping_failed()
            return
        try:
            if not worked:
                pool.renew(self.ping)
            if pool.weigh(self.ping) is Verdict.END_WORKER:
                log.critical("database_pool_beyond_repair")
                self._end_worker()
        except Exception:  # what is wrong with the pool must not be held against the database
            log.exception("database_pool_not_mended")

    def _forget_parent(self) -> None:
        _INHERITED.append((self._pool, self._lock))
        self._lock = threading.RLock()
        self._pool = None
        self._ping_works = True
        self.ping.forget_parent()


def _forget_parents() -> None:
    for database in list(_databases):
        database._forget_parent()


at_fork("database_engine", after_in_child=_forget_parents)
