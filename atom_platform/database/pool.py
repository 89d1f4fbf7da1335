"""This process's pool of connections, and what keeps it usable through the database's troubles."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from atom_platform.database.blame import Blame, Verdict
from atom_platform.database.ping import Ping
from atom_platform.database.server import server_of
from atom_platform.database.source import PostgresSource
from atom_platform.database.sqlite import sqlite_engine
from atom_platform.settings import Settings

__all__ = ["Pool", "migration_engine"]

log = logging.getLogger("atom_platform.database")

#: Longest the application waits for a new connection; beyond it the request is lost anyway.
CONNECT_SECONDS: Final = 5.0

#: The client ends an overdue query a little after the server should have.
AFTER_SERVER_SECONDS: Final = 0.5

#: Longest a migration may take, the wait for another one included.
MIGRATION_SECONDS: Final = 3600.0


class Pool:
    """
    An engine, and its health.

    Args:
        settings: Sizes, timeouts, and the server if there is one.
        path: SQLite's file; None for a database in memory. Not looked at for PostgreSQL.

    Attributes:
        engine: What SQLAlchemy makes of it.
        blame: What has happened in it lately.
    """

    def __init__(self, settings: Settings, *, path: Path | None) -> None:
        seconds = settings.database_query_timeout_seconds
        self._source: PostgresSource | None = None
        if settings.database_url.startswith("sqlite"):
            self.engine = sqlite_engine(
                path,
                pool_size=settings.database_pool_size,
                pool_timeout_seconds=settings.database_pool_timeout_seconds,
                statement_seconds=seconds,
            )
        else:
            self._source = _source(settings, seconds)
            self.engine = self._source.engine(
                pool_size=settings.database_pool_size,
                pool_timeout_seconds=settings.database_pool_timeout_seconds,
            )
        self._in_memory = self._source is None and path is None
        self.blame = Blame(statement_seconds=seconds)
        event.listen(self.engine, "after_cursor_execute", self._worked)
        event.listen(self.engine, "handle_error", self._erred)

    def renew(self, ping: Ping) -> None:
        """Free what still waits for answers that an outage has swallowed."""
        if self._source is None:
            self.reset()  # the file may be another one now
            return
        busy = self._source.busy()
        at_work = ping.active(busy)
        self._source.give_up(but=at_work)
        log.info("database_pool_renewed", extra={"given_up": len(busy - at_work)})

    def reset(self) -> None:
        """Start with new connections; who waits for an answer on an old one gets an error."""
        if self._in_memory:
            return
        if self._source is not None:
            self._source.give_up()
        self.engine.dispose()

    def weigh(self, ping: Ping) -> Verdict:
        """Do what follows from the database being there, short of ending the worker."""
        verdict = self.blame.ping_worked()
        if verdict is Verdict.RENEW_PING:
            ping.close()
        elif verdict is Verdict.RESET_POOL:
            log.error("database_pool_wedged")
            self.reset()
        return verdict

    def _worked(self, *_: Any) -> None:
        self.blame.pool_worked()

    def _erred(self, error: ExceptionContext) -> None:
        if error.is_disconnect or error.connection is None:
            self.blame.pool_failed()
        else:
            self.blame.pool_worked()


def migration_engine(settings: Settings, *, path: Path | None) -> Engine:
    """Return an engine for one patient connection; it makes SQLite's file, and its directory."""
    if not settings.database_url.startswith("sqlite"):
        return _source(settings, MIGRATION_SECONDS).engine(pool_size=1, pool_timeout_seconds=1)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    return sqlite_engine(
        path,
        pool_size=1,
        pool_timeout_seconds=1,
        statement_seconds=MIGRATION_SECONDS,
        create=True,
    )


def _source(settings: Settings, statement_seconds: float) -> PostgresSource:
    return PostgresSource(
        server_of(settings.database_url, statement_timeout_seconds=statement_seconds),
        connect_seconds=CONNECT_SECONDS,
        statement_seconds=statement_seconds + AFTER_SERVER_SECONDS,
    )
