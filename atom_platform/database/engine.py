"""The application's way to its database: one code path, whichever of the two it is."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, exc

from atom_platform.database.ping import Ping, PostgresPing, SqlitePing
from atom_platform.database.server import server_of
from atom_platform.database.source import PostgresSource
from atom_platform.database.sqlite import READ_ONLY, path_of, sqlite_engine
from atom_platform.settings import DEFAULT_DATABASE_URL, Settings, SettingsError

__all__ = ["Database", "open_database"]

log = logging.getLogger("atom_platform.database")

T = TypeVar("T")

#: Longest the application waits for a new connection; beyond it the request is lost anyway.
CONNECT_SECONDS: Final = 5.0

#: The client ends an overdue query a little after the server should have.
AFTER_SERVER_SECONDS: Final = 0.5

#: Longest a migration may take, the wait for another one included.
MIGRATION_SECONDS: Final = 3600.0

#: What a child got from its parent: kept, because to collect it is to close it.
_INHERITED: Final[list[object]] = []

_databases: weakref.WeakSet[Database] = weakref.WeakSet()


def open_database(settings: Settings) -> Database:
    """
    Return the database the settings name; nothing is connected yet.

    Raises:
        SettingsError: DATABASE_URL is one that the driver does not take.
    """
    try:
        return Database(settings)
    except ValueError:
        raise SettingsError(
            "DATABASE_URL must be a URL that starts with sqlite:/// or postgresql://, "
            "with no option that libpq does not know"
        ) from None


class Database:
    """
    An engine and a ping, both opened at first use and in the process that uses them.

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
        self._settings = settings
        self._lock = threading.RLock()
        self._engine: Engine | None = None
        self._source: PostgresSource | None = None
        self._on_open: list[Callable[[Engine], None]] = []
        check_seconds = settings.database_check_timeout_seconds
        self.ping: Ping
        if self.is_sqlite:
            self._path = path_of(url)
            self.ping = SqlitePing(
                self._path, timeout_seconds=check_seconds, recovered=self.after_outage
            )
        else:
            self.ping = PostgresPing(
                server_of(url, statement_timeout_seconds=check_seconds),
                timeout_seconds=check_seconds,
                recovered=self.after_outage,
            )
        _databases.add(self)

    @property
    def engine(self) -> Engine:
        """The engine of this process; its connections are made when work needs them."""
        engine = self._engine
        if engine is None:
            with self._lock:
                engine = self._engine
                if engine is None:
                    engine = self._open()
                    for prepare in self._on_open:
                        prepare(engine)
                    self._engine = engine
        return engine

    def on_open(self, prepare: Callable[[Engine], None]) -> None:
        """Have *prepare* called with each process's engine when it is opened."""
        with self._lock:
            self._on_open.append(prepare)
            if self._engine is not None:
                prepare(self._engine)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """
        Yield a connection to read from, which never waits for a writer.

        Each statement is a transaction of its own, which on PostgreSQL saves two round trips.
        """
        options: dict[str, Any] = {READ_ONLY: True}
        if not self.is_sqlite:
            options["isolation_level"] = "AUTOCOMMIT"
        with self.engine.connect().execution_options(**options) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection in a transaction, committed at the end unless there is an error."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """
        Yield a connection in a transaction, for statements that may take long.

        It is not one of the pool's. SQLite's file is made, with its directory, if it is missing.
        """
        if self.is_sqlite:
            if self._path is None:
                with self.write() as connection:
                    yield connection
                return
            self._path.parent.mkdir(parents=True, exist_ok=True)
            engine = sqlite_engine(
                self._path,
                pool_size=1,
                pool_timeout_seconds=1,
                statement_seconds=MIGRATION_SECONDS,
                create=True,
            )
        else:
            engine = self._postgres(MIGRATION_SECONDS).engine(pool_size=1, pool_timeout_seconds=1)
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

    def after_outage(self) -> None:
        """
        Free what still waits for answers that the outage has swallowed.

        Called when the ping has an answer again after a failure.
        """
        self.reset_pool()

    def reset_pool(self) -> None:
        """Replace every connection of the pool; who waits on one gets an error at once."""
        with self._lock:
            engine, source = self._engine, self._source
        if engine is None:
            return
        busy = source.give_up() if source is not None else 0
        log.warning("database_pool_reset", extra={"busy": busy})

    def dispose(self) -> None:
        """Close what this process has opened; the next use opens it anew."""
        with self._lock:
            engine, self._engine, self._source = self._engine, None, None
        if engine is not None:
            engine.dispose()
        self.ping.close()

    def _open(self) -> Engine:
        settings = self._settings
        if self.is_sqlite:
            return sqlite_engine(
                self._path,
                pool_size=settings.database_pool_size,
                pool_timeout_seconds=settings.database_pool_timeout_seconds,
                statement_seconds=settings.database_query_timeout_seconds,
            )
        self._source = self._postgres(settings.database_query_timeout_seconds)
        return self._source.engine(
            pool_size=settings.database_pool_size,
            pool_timeout_seconds=settings.database_pool_timeout_seconds,
        )

    def _postgres(self, statement_seconds: float) -> PostgresSource:
        return PostgresSource(
            server_of(self._settings.database_url, statement_timeout_seconds=statement_seconds),
            connect_seconds=CONNECT_SECONDS,
            statement_seconds=statement_seconds + AFTER_SERVER_SECONDS,
        )

    def _forget_parent(self) -> None:
        _INHERITED.append((self._engine, self._source, self._lock))
        self._lock = threading.RLock()
        self._engine = self._source = None
        self.ping.forget_parent()


def _forget_parents() -> None:
    for database in list(_databases):
        database._forget_parent()


os.register_at_fork(after_in_child=_forget_parents)
