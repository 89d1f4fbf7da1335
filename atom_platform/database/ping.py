"""
The ping of the readiness check: one connection of its own, and a result within the deadline.

The pool's connections may all be busy while the database works; a ping through the pool would make
a busy worker not ready.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, Protocol

import psycopg
from psycopg.pq.abc import PGconn

from atom_platform.database import sqlite
from atom_platform.database.errors import ConnectionLost, NoAnswer, failure_for
from atom_platform.database.postgres.addresses import PostgresServer
from atom_platform.database.postgres.connect import connect, query
from atom_platform.database.postgres.deadline import Deadline, Waker
from atom_platform.health.check import CheckFailed

__all__ = ["Ping", "PostgresPing", "SqlitePing"]

#: How long after the watchdog's deadline the ping ends by itself. The watchdog reports first, so
#: its `latency_ms` is never below the deadline.
AFTER_WATCHDOG_SECONDS: Final = 0.25

#: Longest wait for a locked file; then it is reported as locked and not as a timeout.
LOCK_SECONDS: Final = 1.0

#: Longest the server may take to list its active processes.
ACTIVE_SECONDS: Final = 1.0

#: Connections inherited from the parent; kept, because collecting them would close them.
_INHERITED: Final[list[object]] = []


class Ping(Protocol):
    """Asks the database for one answer; called by one thread at a time."""

    def __call__(self) -> None:
        """
        Return when the database has answered.

        Raises:
            CheckFailed: It has not; the text is from a fixed set, the cause has the details.
        """

    def cancel(self) -> None:
        """End the run in flight; any thread may call it, at any time."""

    def close(self) -> None:
        """Close the connection; the next run makes a new one."""

    def active_backends(self, backends: Collection[int]) -> set[int]:
        """Return which of these server processes run a query; empty when that is unknown."""

    def after_fork(self) -> None:
        """Drop the parent's connection in a child, without closing it."""


class PostgresPing:
    """
    `SELECT 1` on a connection that is made when needed and kept as long as it works.

    Args:
        server: Where to connect.
        timeout_seconds: Longest a run may take, all hosts and attempts together.
        on_result: Called after each run with whether the database answered; in the run's thread.

    A run that waits for a silent resolver ends in time too; the resolver's thread stays until the
    system's own timeout.
    """

    def __init__(
        self,
        server: PostgresServer,
        *,
        timeout_seconds: float,
        on_result: Callable[[bool], None],
    ) -> None:
        self._server = server
        self._timeout_seconds = timeout_seconds
        self._on_result = on_result
        self._waker = Waker()
        self._connection: PGconn | None = None

    def __call__(self) -> None:
        self._waker.reset()
        deadline = Deadline(self._timeout_seconds + AFTER_WATCHDOG_SECONDS, waker=self._waker)
        try:
            self._ask(deadline)
        except NoAnswer as error:
            self._fail()
            raise _overdue(self._timeout_seconds) from error
        except psycopg.Error as error:
            self._fail()
            raise failure_for(error) from error
        self._on_result(True)

    def cancel(self) -> None:
        self._waker.wake()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.finish()

    def active_backends(self, backends: Collection[int]) -> set[int]:
        if self._connection is None or not backends:
            return set()
        pids = ",".join(map(str, backends))
        statement = f"SELECT pid FROM pg_stat_activity WHERE state = 'active' AND pid IN ({pids})"  # noqa: S608 — numbers
        try:
            [result] = query(self._connection, statement.encode(), Deadline(ACTIVE_SECONDS))
        except psycopg.Error:
            self.close()
            return set()
        return {int(result.get_value(row, 0) or 0) for row in range(result.ntuples)}

    def after_fork(self) -> None:
        _INHERITED.append((self._connection, self._waker))
        self._connection, self._waker = None, Waker()

    def _ask(self, deadline: Deadline) -> None:
        """Query on the kept connection; on a new one if it is lost or there is none."""
        if self._connection is not None:
            try:
                query(self._connection, b"SELECT 1", deadline)
            except ConnectionLost:
                self.close()  # it may have been lost long ago, so only a new one counts
            else:
                return
        self._connection = connect(self._server, deadline)
        query(self._connection, b"SELECT 1", deadline)

    def _fail(self) -> None:
        self.close()
        self._on_result(False)


class SqlitePing:
    """
    A read of the file's schema table, on a connection that is kept as long as the file.

    `SELECT 1` alone does not read the file: it succeeds when the file is deleted.

    Args:
        path: The file; None for a database in memory.
        timeout_seconds: Longest a run may take.
        on_result: Called after each run with whether the database answered; in the run's thread.
    """

    def __init__(
        self, path: Path | None, *, timeout_seconds: float, on_result: Callable[[bool], None]
    ) -> None:
        self._path = path
        self._timeout_seconds = timeout_seconds
        self._on_result = on_result
        self._connection: sqlite.TimedConnection | None = None
        self._file: tuple[int, int] | None = None

    def __call__(self) -> None:
        try:
            self._ask()
        except (sqlite3.Error, OSError) as error:
            self.close()
            self._on_result(False)
            if getattr(error, "sqlite_errorname", None) == "SQLITE_INTERRUPT":
                raise _overdue(self._timeout_seconds) from error
            raise failure_for(error) from error
        self._on_result(True)

    def cancel(self) -> None:
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(sqlite3.ProgrammingError):  # closed at this moment
                connection.interrupt()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def active_backends(self, backends: Collection[int]) -> set[int]:
        return set()

    def after_fork(self) -> None:
        _INHERITED.append(self._connection)
        self._connection, self._file = None, None

    def _ask(self) -> None:
        """Read the file on the kept connection, or a new one if the file was replaced."""
        if self._path is not None:
            status = self._path.stat()
            file = (status.st_dev, status.st_ino)
            if self._file not in (None, file):
                # Another file has taken its place; only our connection still reads the old one.
                self.close()
                self._on_result(False)
            self._file = file
            if not os.access(self._path, os.R_OK | os.W_OK):
                raise PermissionError(errno.EACCES, "no permission to read and write the file")
        if self._connection is None:
            self._connection = sqlite.connect(
                self._path,
                lock_seconds=min(LOCK_SECONDS, self._timeout_seconds / 2),
                write_ahead=False,
            )
        self._connection.until = time.monotonic() + self._timeout_seconds + AFTER_WATCHDOG_SECONDS
        self._connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()


def _overdue(seconds: float) -> CheckFailed:
    return CheckFailed(f"Database timeout after {seconds:.1f}s", code="timeout")
