"""SQLite engines and connections, for a file that several workers write at once."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

__all__ = ["MEMORY", "READ_ONLY", "TimedConnection", "connect", "path_of", "sqlite_engine"]

MEMORY: Final = ":memory:"

#: The execution option of a transaction that writes nothing.
READ_ONLY: Final = "atom_read_only"

#: Instructions of SQLite's machine between two checks of the time: below a millisecond of work.
STEPS_PER_CHECK: Final = 20_000


class TimedConnection(sqlite3.Connection):
    """
    A connection whose statements are interrupted when they are overdue.

    Attributes:
        until: When (monotonic) the statement under way is overdue; None between statements.
    """

    until: float | None = None

    def is_overdue(self) -> bool:
        """Return whether SQLite must interrupt the statement."""
        return self.until is not None and time.monotonic() > self.until


def path_of(url: str) -> Path | None:
    """Return the file of a `sqlite:///` URL, absolute; None for a database in memory."""
    text = unquote(urlsplit(url).path.removeprefix("/"))
    if text in ("", MEMORY):
        return None
    return Path(text).absolute()


def connect(
    path: Path | None, *, lock_seconds: float, create: bool = False, write_ahead: bool = True
) -> TimedConnection:
    """
    Open the database at *path*.

    The caller begins transactions; a writer waits for the other writers.

    Args:
        path: The file; None for a database in memory.
        lock_seconds: Longest a writer waits.
        create: Whether a missing file is created. Only a migration should: an empty file in place
            of a deleted one would look healthy.
        write_ahead: Whether to switch the file to write-ahead logging, so that readers and the one
            writer do not wait for each other.

    Raises:
        sqlite3.Error: It cannot be opened, or is no database.
    """
    connection = sqlite3.connect(
        MEMORY if path is None else f"file:{quote(str(path))}?mode={'rwc' if create else 'rw'}",
        timeout=lock_seconds,
        isolation_level=None,
        check_same_thread=False,  # the pool gives a connection to one thread at a time
        factory=TimedConnection,
        uri=path is not None,
    )
    try:
        connection.set_progress_handler(connection.is_overdue, STEPS_PER_CHECK)
        connection.execute("PRAGMA foreign_keys = ON")
        if path is not None and write_ahead:
            connection.execute("PRAGMA journal_mode = WAL")
            # With write-ahead logging, NORMAL loses only the last commits, and only in a power cut.
            connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def sqlite_engine(
    path: Path | None,
    *,
    pool_size: int,
    pool_timeout_seconds: float,
    statement_seconds: float,
    create: bool = False,
) -> Engine:
    """Return an engine whose statements, and waits for a lock, end after *statement_seconds*."""

    def time_statement(connection: Connection, *_: Any) -> None:
        driver: Any = connection.connection.driver_connection
        driver.until = time.monotonic() + statement_seconds

    engine = create_engine(
        "sqlite://",
        creator=lambda: connect(path, lock_seconds=statement_seconds, create=create),
        poolclass=QueuePool,
        pool_size=1 if path is None else pool_size,  # in memory, the connection is the database
        max_overflow=0,
        pool_timeout=pool_timeout_seconds,
    )
    event.listen(engine, "begin", _begin)
    event.listen(engine, "before_cursor_execute", time_statement)
    return engine


def _begin(connection: Connection) -> None:
    """
    Take the write lock at the start of a transaction that may write.

    A transaction that reads first and writes later fails at once when another one wrote in
    between, whatever the busy timeout. Reading needs no transaction: each statement sees one state
    of the file.
    """
    if not connection.get_execution_options().get(READ_ONLY):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
