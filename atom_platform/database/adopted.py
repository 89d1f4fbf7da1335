"""
Any SQLAlchemy engine's readiness check: one round trip, on a connection of the check's own.

The engine's own way to connect is used, so passwords that change and options that only the engine
knows are right; its pool is not, because a pool that is used up is no database that is gone.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any, Final, TypeAlias

from sqlalchemy import Engine

from atom_platform.database._compat_sqlalchemy import private_pool
from atom_platform.health.check import CheckFailed, CheckResult

__all__ = ["AnyEngine", "EngineCheck"]

AnyEngine: TypeAlias = Engine

#: What a child got from its parent: kept, because to collect it is to close it.
_inherited: Final[list[object]] = []


class EngineCheck:
    """
    A check that is healthy when *engine*'s database comes back.

    One thread at a time. It blocks for as long as the driver does: whoever runs it brings the
    deadline, and `cancel`. While a connection is being made there is nothing to cancel yet, so let
    the driver's own timeout for that be short (`connect_args={"connect_timeout": 2}`).

    Raises:
        CheckFailed: The database has not answered; the text is one of a fixed set.
    """

    def __init__(self, engine: Engine) -> None:
        self._dialect = engine.dialect
        self._pool = private_pool(engine)
        self._connection: Any = None
        self._pid = os.getpid()
        self._cancelled = False

    def __call__(self) -> CheckResult:
        self._cancelled = False
        if self._pid != os.getpid():
            _inherited.append(self._connection)
            self._connection, self._pid = None, os.getpid()
        kept = self._connection is not None
        try:
            try:
                self._ask()
            except Exception:
                if not kept or self._cancelled:
                    raise
                # The server may have closed it since: that is no reason to be unhealthy.
                self._ask()
        except Exception as error:
            raise _failure_for(error) from error
        return CheckResult(healthy=True, message="Database accessible")

    def cancel(self) -> None:
        """End the run under way; any thread may call it, at any time."""
        self._cancelled = True
        connection: Any = getattr(self._connection, "dbapi_connection", None)
        with contextlib.suppress(Exception):
            if hasattr(connection, "interrupt"):  # sqlite3's
                connection.interrupt()
            elif hasattr(connection, "fileno"):  # psycopg's, both generations
                # Shut down rather than closed: closing would wake nobody who waits for an answer.
                duplicate = socket.socket(fileno=os.dup(connection.fileno()))
                with duplicate:
                    duplicate.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back; the next run makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _ask(self) -> None:
        if self._connection is None:
            self._connection = self._pool.connect()
        try:
            self._dialect.do_ping(self._connection.dbapi_connection)
            self._dialect.do_rollback(self._connection)
        except BaseException:
            connection, self._connection = self._connection, None
            with contextlib.suppress(Exception):
                connection.invalidate()
            raise


def _failure_for(error: Exception) -> CheckFailed:
    try:
        from atom_platform.database.failure import failure_for
    except ModuleNotFoundError:  # without psycopg there are no errors of it to tell apart
        return CheckFailed("Database not accessible")
    return failure_for(error)
