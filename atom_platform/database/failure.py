"""
What may be said about a database that cannot be used: one of a fixed set of sentences.

The driver's own texts name hosts, users and statements. They belong in the log.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Final

import psycopg

__all__ = ["ConnectionLost", "HostNotResolvable", "NoAnswer", "sentence_for"]

#: What a server says when it takes no connection, in the order looked for. While a connection is
#: made libpq hands over no error code, only text: English unless `lc_messages` says otherwise.
REFUSALS: Final = (
    ("too many connections", "Database connection limit reached"),
    ("too many clients", "Database connection limit reached"),
    ("remaining connection slots", "Database connection limit reached"),
    ("no more connections allowed", "Database connection limit reached"),  # PgBouncer
    ("is not currently accepting connections", "Database does not accept connections"),
    ("password authentication failed", "Database authentication failed"),
    ("no password supplied", "Database authentication failed"),
    ("authentication failed", "Database authentication failed"),
    ("no pg_hba.conf entry", "Database authentication failed"),
    ("permission denied", "Database authentication failed"),
    ("is not permitted to log in", "Database authentication failed"),
    ('role "" does not exist', "Database authentication failed"),
    ("no such user", "Database authentication failed"),
    ("no such database", "Database does not exist"),
    ('database "" does not exist', "Database does not exist"),
    ("starting up", "Database is starting up"),
    ("in recovery mode", "Database is starting up"),
    ("not yet accepting connections", "Database is starting up"),
    ("shutting down", "Database is shutting down"),
    ("ssl", "Database connection could not be secured"),
    ("certificate", "Database connection could not be secured"),
    ("session is", "Database has not the wanted role"),
    ("server is in hot standby", "Database has not the wanted role"),
    ("server is not in hot standby", "Database has not the wanted role"),
    ("connection refused", "Database refused the connection"),
    ("no such file or directory", "Database refused the connection"),  # its socket
    ("no route to host", "Database host not reachable"),
    ("network is unreachable", "Database host not reachable"),
    ("connection timed out", "Database host not reachable"),
    ("server closed the connection", "Database connection lost"),
    ("connection reset", "Database connection lost"),
)

NAMES: Final = re.compile(r'"[^"]*"')

#: The same by SQLSTATE or its class, for errors on a connection that is made.
STATES: Final = (
    ("28", "Database authentication failed"),
    ("3D", "Database does not exist"),
    ("53300", "Database connection limit reached"),
    ("57P03", "Database is starting up"),
    ("57P01", "Database is shutting down"),
    ("57P02", "Database is shutting down"),
    ("08", "Database connection lost"),
)

SQLITE: Final = {
    "SQLITE_CANTOPEN": "Database file not accessible",
    "SQLITE_PERM": "Database file not accessible",
    "SQLITE_IOERR": "Database file not accessible",
    "SQLITE_READONLY": "Database file not writable",
    "SQLITE_FULL": "Database disk full",
    "SQLITE_BUSY": "Database is locked",
    "SQLITE_LOCKED": "Database is locked",
    "SQLITE_NOTADB": "Database file damaged",
    "SQLITE_CORRUPT": "Database file damaged",
}


class NoAnswer(psycopg.OperationalError):
    """The server did not answer in time."""


class HostNotResolvable(psycopg.OperationalError):
    """No host of the URL has an address."""


class ConnectionLost(psycopg.OperationalError):
    """The server, or something on the way, has ended the connection."""


def sentence_for(error: BaseException) -> str:
    """Return the sentence that describes *error*; it never contains anything of it."""
    if isinstance(error, HostNotResolvable):
        return "Database host not resolvable"
    if isinstance(error, NoAnswer):
        return "Database timeout"
    if isinstance(error, ConnectionLost):
        return "Database connection lost"
    if isinstance(error, psycopg.Error):
        return _of_postgres(error)
    if isinstance(error, sqlite3.Error):
        # Extended codes append to the primary one's name: SQLITE_BUSY_SNAPSHOT.
        name = "_".join((getattr(error, "sqlite_errorname", None) or "").split("_")[:2])
        return SQLITE.get(name, "Database error")
    if isinstance(error, OSError):
        return "Database file not accessible"
    return "Database error"


def _of_postgres(error: psycopg.Error) -> str:
    for state, sentence in STATES:
        if error.sqlstate and error.sqlstate.startswith(state):
            return sentence
    # What comes before "failed:" and between quotes are names, which may read like anything.
    text = NAMES.sub('""', str(error).rpartition(" failed: ")[2]).lower()
    return next((sentence for part, sentence in REFUSALS if part in text), "Database error")
