"""Connections to a SQLite file that several workers write at once."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

__all__ = ["MEMORY", "TimedConnection", "connect", "path_of"]

MEMORY: Final = ":memory:"

#: Instructions of SQLite's machine between two looks at the clock: below a millisecond of work.
STEPS_PER_GLANCE: Final = 20_000


class TimedConnection(sqlite3.Connection):
    """
    A connection whose statements are interrupted when they are overdue.

    Attributes:
        until: When (monotonic) the statement under way is overdue; None between statements.
    """

    until: float | None = None

    def _overdue(self) -> bool:
        return self.until is not None and time.monotonic() > self.until


def path_of(url: str) -> Path | None:
    """Return the file of a `sqlite:///` URL, absolute; None for a database in memory."""
    text = unquote(urlsplit(url).path.removeprefix("/"))
    if text in ("", MEMORY):
        return None
    return Path(text).absolute()


def connect(path: Path | None, *, lock_seconds: float, create: bool = True) -> TimedConnection:
    """
    Open the database at *path*.

    Write-ahead logging, so that readers and the one writer do not wait for each other; a writer
    waits up to *lock_seconds* for the other writers. Transactions begin where the caller says.

    Raises:
        sqlite3.Error: It cannot be opened, or is no database.
    """
    mode = "rwc" if create else "rw"
    connection = sqlite3.connect(
        MEMORY if path is None else f"file:{quote(str(path))}?mode={mode}",
        timeout=lock_seconds,
        isolation_level=None,
        check_same_thread=False,  # the pool gives a connection to one thread at a time
        factory=TimedConnection,
        uri=path is not None,
    )
    try:
        connection.set_progress_handler(connection._overdue, STEPS_PER_GLANCE)
        connection.execute("PRAGMA foreign_keys = ON")
        if path is not None and create:
            connection.execute("PRAGMA journal_mode = WAL")
            # With the log, NORMAL loses nothing but the last commits, and only in a power cut.
            connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection
