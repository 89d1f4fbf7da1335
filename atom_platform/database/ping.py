"""
The readiness check's way to the database: one connection of its own, and an answer in time.

The pool's connections may all be busy while the database is well; asking through the pool would
unplug a worker for being used.
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

from atom_platform.database import postgres, sqlite
from atom_platform.database.deadline import Deadline, Waker
from atom_platform.database.failure import ConnectionLost, NoAnswer, failure_for
from atom_platform.database.server import Server
from atom_platform.health.check import CheckFailed

__all__ = ["Ping", "PostgresPing", "SqlitePing"]

#: The prober's watchdog speaks first, so that the latency it reports is never below the deadline.
AFTER_WATCHDOG_SECONDS: Final = 0.25

#: A locked file is told as such, rather than as a timeout.
LOCK_SECONDS: Final = 1.0

#: Longest the server may take to say who works on what.
ACTIVE_SECONDS: Final = 1.0

#: What a child got from its parent: kept, because to collect it is to close it.
_INHERITED: Final[list[object]] = []


class Ping(Protocol):
    """Ask the database for an answer; one thread at a time."""

    def __call__(self) -> None:
        """
        Return when the database has answered.

        Raises:
            CheckFailed: It has not; the text is one of a fixed set, the cause holds the details.
        """

    def cancel(self) -> None:
        """End the run under way; any thread may call it, at any time."""

    def close(self) -> None:
        """Give the connection back; the next run makes a new one."""

    def active(self, backends: Collection[int]) -> set[int]:
        """Return which of the server's processes work on a query; empty if it cannot be told."""

    def forget_parent(self) -> None:
        """Leave the connection alone, in a forked child: it is its parent's."""


class PostgresPing:
    """
    `SELECT 1` on a connection that is made when needed and kept as long as it works.

    Args:
        server: Where to connect.
        timeout_seconds: What a run may take, all hosts and tries together.
        told: Called after each run with whether there was an answer; in the run's thread.

    A run that waits for a silent resolver ends in time too, but the resolver's thread stays until
    the system gives up.
    """

    def __init__(
        self,
        server: Server,
        *,
        timeout_seconds: float,
        told: Callable[[bool], None],
    ) -> None:
        self._server = server
        self._timeout_seconds = timeout_seconds
        self._told = told
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
        self._told(True)

    def cancel(self) -> None:
        self._waker.wake()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.finish()

    def active(self, backends: Collection[int]) -> set[int]:
        if self._connection is None or not backends:
            return set()
        pids = ",".join(map(str, backends))
        query = f"SELECT pid FROM pg_stat_activity WHERE state = 'active' AND pid IN ({pids})"  # noqa: S608 — numbers
        try:
            [result] = postgres.ask(self._connection, query.encode(), Deadline(ACTIVE_SECONDS))
        except psycopg.Error:
            self.close()
            return set()
        return {int(result.get_value(row, 0) or 0) for row in range(result.ntuples)}

    def forget_parent(self) -> None:
        _INHERITED.append((self._connection, self._waker))
        self._connection, self._waker = None, Waker()

    def _ask(self, deadline: Deadline) -> None:
        if self._connection is not None:
            try:
                postgres.ask(self._connection, b"SELECT 1", deadline)
            except ConnectionLost:
                self.close()  # it may have been lost long ago: what counts is a new one
            else:
                return
        self._connection = postgres.connect(self._server, deadline)
        postgres.ask(self._connection, b"SELECT 1", deadline)

    def _fail(self) -> None:
        self.close()
        self._told(False)


class SqlitePing:
    """
    A read of the file's own table of contents, on a connection kept as long as the file is.

    `SELECT 1` alone would not look at the file at all: it works on one that is deleted.

    Args:
        path: The file; None for a database in memory.
        timeout_seconds: What a run may take.
        told: Called after each run with whether there was an answer; in the run's thread.
    """

    def __init__(
        self, path: Path | None, *, timeout_seconds: float, told: Callable[[bool], None]
    ) -> None:
        self._path = path
        self._timeout_seconds = timeout_seconds
        self._told = told
        self._connection: sqlite.TimedConnection | None = None
        self._file: tuple[int, int] | None = None

    def __call__(self) -> None:
        try:
            self._ask()
        except (sqlite3.Error, OSError) as error:
            self.close()
            self._told(False)
            if getattr(error, "sqlite_errorname", None) == "SQLITE_INTERRUPT":
                raise _overdue(self._timeout_seconds) from error
            raise failure_for(error) from error
        self._told(True)

    def cancel(self) -> None:
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(sqlite3.ProgrammingError):  # closed this very moment
                connection.interrupt()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def active(self, backends: Collection[int]) -> set[int]:
        return set()

    def forget_parent(self) -> None:
        _INHERITED.append(self._connection)
        self._connection, self._file = None, None

    def _ask(self) -> None:
        if self._path is not None:
            status = self._path.stat()
            file = (status.st_dev, status.st_ino)
            if self._file not in (None, file):
                # Another one in its place: the old one can still be read, but by us alone.
                self.close()
                self._told(False)
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
