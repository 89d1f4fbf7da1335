"""
Why a database cannot be used: one of a fixed set of codes, each with its sentence.

The driver's own texts name hosts, users and statements. They belong in the log only.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Final

import psycopg

from atom_platform.health.check import CheckFailed

__all__ = ["ConnectionLost", "HostNotResolvable", "NoAnswer", "failure_for", "message_for"]

#: The sentence of each code.
MESSAGES: Final = {
    "connection_limit": "Database connection limit reached",
    "not_accepting": "Database does not accept connections",
    "authentication_failed": "Database authentication failed",
    "no_such_database": "Database does not exist",
    "starting_up": "Database is starting up",
    "shutting_down": "Database is shutting down",
    "tls_failed": "Database connection could not be secured",
    "wrong_role": "Database has not the wanted role",
    "refused": "Database refused the connection",
    "unreachable": "Database host not reachable",
    "connection_lost": "Database connection lost",
    "file_inaccessible": "Database file not accessible",
    "file_read_only": "Database file not writable",
    "disk_full": "Database disk full",
    "locked": "Database is locked",
    "file_damaged": "Database file damaged",
    "timeout": "Database timeout",
    "host_not_resolvable": "Database host not resolvable",
    "unhealthy": "Database error",
}

#: Parts of the text with which a server refuses a connection, in the order of the search. While a
#: connection is made libpq gives text only and no SQLSTATE: English unless `lc_messages` differs.
REFUSALS: Final = (
    ("too many connections", "connection_limit"),
    ("too many clients", "connection_limit"),
    ("remaining connection slots", "connection_limit"),
    ("no more connections allowed", "connection_limit"),  # PgBouncer
    ("is not currently accepting connections", "not_accepting"),
    ("password authentication failed", "authentication_failed"),
    ("no password supplied", "authentication_failed"),
    ("authentication failed", "authentication_failed"),
    ("no pg_hba.conf entry", "authentication_failed"),
    ("permission denied", "authentication_failed"),
    ("is not permitted to log in", "authentication_failed"),
    ('role "" does not exist', "authentication_failed"),
    ("no such user", "authentication_failed"),
    ("no such database", "no_such_database"),
    ('database "" does not exist', "no_such_database"),
    ("starting up", "starting_up"),
    ("in recovery mode", "starting_up"),
    ("not yet accepting connections", "starting_up"),
    ("shutting down", "shutting_down"),
    ("ssl", "tls_failed"),
    ("certificate", "tls_failed"),
    ("session is", "wrong_role"),
    ("server is in hot standby", "wrong_role"),
    ("server is not in hot standby", "wrong_role"),
    ("connection refused", "refused"),
    ("no such file or directory", "refused"),  # its socket
    ("no route to host", "unreachable"),
    ("network is unreachable", "unreachable"),
    ("connection timed out", "unreachable"),
    ("server closed the connection", "connection_lost"),
    ("connection reset", "connection_lost"),
)

NAMES: Final = re.compile(r'"[^"]*"')

#: Codes by SQLSTATE or its class, for errors on an open connection.
STATES: Final = (
    ("28", "authentication_failed"),
    ("3D", "no_such_database"),
    ("53300", "connection_limit"),
    ("57P03", "starting_up"),
    ("57P01", "shutting_down"),
    ("57P02", "shutting_down"),
    ("08", "connection_lost"),
)

SQLITE: Final = {
    "SQLITE_CANTOPEN": "file_inaccessible",
    "SQLITE_PERM": "file_inaccessible",
    "SQLITE_IOERR": "file_inaccessible",
    "SQLITE_READONLY": "file_read_only",
    "SQLITE_FULL": "disk_full",
    "SQLITE_BUSY": "locked",
    "SQLITE_LOCKED": "locked",
    "SQLITE_NOTADB": "file_damaged",
    "SQLITE_CORRUPT": "file_damaged",
}


class NoAnswer(psycopg.OperationalError):
    """The server did not answer in time."""


class HostNotResolvable(psycopg.OperationalError):
    """No host of the URL has an address."""


class ConnectionLost(psycopg.OperationalError):
    """The server, or the network, has ended the connection."""


def failure_for(error: BaseException) -> CheckFailed:
    """Return the exception that a check raises for *error*; its text repeats nothing of it."""
    code = _code_of(error)
    return CheckFailed(MESSAGES[code], code=code)


def message_for(error: BaseException) -> str:
    """Return the sentence that describes *error*; it repeats nothing of it."""
    return MESSAGES[_code_of(error)]


def _code_of(error: BaseException) -> str:
    """Return the key of `MESSAGES` for *error*; `unhealthy` when its kind is unknown."""
    if isinstance(error, HostNotResolvable):
        return "host_not_resolvable"
    if isinstance(error, NoAnswer):
        return "timeout"
    if isinstance(error, ConnectionLost):
        return "connection_lost"
    if isinstance(error, psycopg.Error):
        return _of_postgres(error)
    if isinstance(error, sqlite3.Error):
        # Extended codes append to the primary one's name: SQLITE_BUSY_SNAPSHOT.
        name = "_".join((getattr(error, "sqlite_errorname", None) or "").split("_")[:2])
        return SQLITE.get(name, "unhealthy")
    if isinstance(error, OSError):
        return "file_inaccessible"
    return "unhealthy"


def _of_postgres(error: psycopg.Error) -> str:
    """Return the code of an error of PostgreSQL, by its SQLSTATE, otherwise by its text."""
    for state, code in STATES:
        if error.sqlstate and error.sqlstate.startswith(state):
            return code
    # Names of hosts and users come before "failed:" and between quotes; they may contain anything.
    text = NAMES.sub('""', str(error).rpartition(" failed: ")[2]).lower()
    return next((code for part, code in REFUSALS if part in text), "unhealthy")
