"""This process's connection pool, and its repair after an outage of the database."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from atom_platform.database.ping import Ping
from atom_platform.database.pool_health import PoolAction, PoolHealth
from atom_platform.database.postgres.addresses import parse_url
from atom_platform.database.postgres.factory import ConnectionFactory
from atom_platform.database.sqlite import sqlite_engine
from atom_platform.settings import Settings

__all__ = ["DatabasePool", "migration_engine"]

log = logging.getLogger("atom_platform.database")

#: Longest the application waits for a new connection; a later one would not save the request.
CONNECT_SECONDS: Final = 5.0

#: How long after the server's own `statement_timeout` the client ends an overdue query.
AFTER_SERVER_SECONDS: Final = 0.5

#: Longest a migration may take, including the wait for another one.
MIGRATION_SECONDS: Final = 3600.0


class DatabasePool:
    """
    An engine, and its health.

    Args:
        settings: Sizes, timeouts, and the server if there is one.
        path: SQLite's file; None for a database in memory. Ignored for PostgreSQL.

    Attributes:
        engine: The SQLAlchemy engine.
        health: Decides from recent results what the pool needs.
    """

    def __init__(self, settings: Settings, *, path: Path | None) -> None:
        seconds = settings.database_query_timeout_seconds
        self._factory: ConnectionFactory | None = None
        if settings.database_url.startswith("sqlite"):
            self.engine = sqlite_engine(
                path,
                pool_size=settings.database_pool_size,
                pool_timeout_seconds=settings.database_pool_timeout_seconds,
                statement_seconds=seconds,
            )
        else:
            self._factory = _factory(settings, seconds)
            self.engine = self._factory.engine(
                pool_size=settings.database_pool_size,
                pool_timeout_seconds=settings.database_pool_timeout_seconds,
            )
        self._in_memory = self._factory is None and path is None
        self.health = PoolHealth(statement_seconds=seconds)
        event.listen(self.engine, "after_cursor_execute", self._on_success)
        event.listen(self.engine, "handle_error", self._on_error)

    def abandon_hung(self, ping: Ping) -> None:
        """Break connections that still wait for answers lost in an outage."""
        if self._factory is None:
            self.reset()  # another file may be there now
            return
        busy = self._factory.busy()
        active = ping.active_backends(busy)
        self._factory.abandon(except_pids=active)
        log.info("database_pool_renewed", extra={"abandoned": len(busy - active)})

    def reset(self) -> None:
        """Replace all connections; a thread that waits on an old one gets an error."""
        if self._in_memory:
            return
        if self._factory is not None:
            self._factory.abandon()
        self.engine.dispose()

    def evaluate(self, ping: Ping) -> PoolAction:
        """Return what the pool needs while the database answers; do all but the restart."""
        action = self.health.evaluate()
        if action is PoolAction.RECONNECT_PING:
            ping.close()
        elif action is PoolAction.RESET_POOL:
            log.error("database_pool_wedged")
            self.reset()
        return action

    def _on_success(self, *_: Any) -> None:
        self.health.record_success()

    def _on_error(self, error: ExceptionContext) -> None:
        """Record a lost connection as a failure, and an error of a statement as a success."""
        if error.is_disconnect or error.connection is None:
            self.health.record_failure()
        else:
            self.health.record_success()


def migration_engine(settings: Settings, *, path: Path | None) -> Engine:
    """Return an engine for one connection with long deadlines; creates SQLite's file."""
    if not settings.database_url.startswith("sqlite"):
        return _factory(settings, MIGRATION_SECONDS).engine(pool_size=1, pool_timeout_seconds=1)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    return sqlite_engine(
        path,
        pool_size=1,
        pool_timeout_seconds=1,
        statement_seconds=MIGRATION_SECONDS,
        create=True,
    )


def _factory(settings: Settings, statement_seconds: float) -> ConnectionFactory:
    return ConnectionFactory(
        parse_url(settings.database_url, statement_timeout_seconds=statement_seconds),
        connect_seconds=CONNECT_SECONDS,
        statement_seconds=statement_seconds + AFTER_SERVER_SECONDS,
    )
