"""
The readiness check of an application's SQLAlchemy engine: one round trip on its own connection.

It connects as the engine does, so changing passwords and the engine's own options apply. It does
not use the engine's pool: an exhausted pool does not mean that the database is down.
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

#: Connections inherited from the parent; kept, because collecting them would close them.
_inherited: Final[list[object]] = []


class EngineCheck:
    """
    A check that is healthy when the database of *engine* answers.

    Called by one thread at a time. It blocks as long as the driver does, so its runner keeps the
    deadline and calls `cancel`. A connection that is being made cannot be cancelled; keep the
    driver's own timeout short (`connect_args={"connect_timeout": 2}`).

    Raises:
        CheckFailed: The database has not answered; the text is from a fixed set.
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
                self._ping()
            except Exception:
                if not kept or self._cancelled:
                    raise
                # The server may have closed the kept connection, so only a new one counts.
                self._ping()
        except Exception as error:
            raise _failure_for(error) from error
        return CheckResult(healthy=True, message="Database accessible")

    def cancel(self) -> None:
        """End the run in flight; any thread may call it, at any time."""
        self._cancelled = True
        connection: Any = getattr(self._connection, "dbapi_connection", None)
        with contextlib.suppress(Exception):
            if hasattr(connection, "interrupt"):  # sqlite3's
                connection.interrupt()
            elif hasattr(connection, "fileno"):  # psycopg's, both generations
                # Shut down, not closed: closing does not wake a thread that waits for an answer.
                duplicate = socket.socket(fileno=os.dup(connection.fileno()))
                with duplicate:
                    duplicate.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the next run makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _ping(self) -> None:
        """Make one round trip; drop the connection when it fails."""
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
    """Return what to raise for *error*, whose class is known only when psycopg is installed."""
    try:
        from atom_platform.database.errors import failure_for
    except ModuleNotFoundError:  # psycopg is not installed
        return CheckFailed("Database not accessible")
    return failure_for(error)
