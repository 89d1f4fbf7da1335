"""message_for: a fixed message for every error of a driver, without the names in it."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest

from atom_platform.database.errors import ConnectionLost, HostNotResolvable, NoAnswer, message_for

AT = 'connection to server at "%s" (192.0.2.1), port 5432 failed: '


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Connection refused\n\tIs the server running?", "Database refused the connection"),
        ("No route to host", "Database host not reachable"),
        ('FATAL:  password authentication failed for user "a"', "Database authentication failed"),
        ("fe_sendauth: no password supplied", "Database authentication failed"),
        ('FATAL:  role "a" does not exist', "Database authentication failed"),
        ('FATAL:  database "a" does not exist', "Database does not exist"),
        ("FATAL:  sorry, too many clients already", "Database connection limit reached"),
        ('FATAL:  too many connections for role "a"', "Database connection limit reached"),
        (
            "FATAL:  remaining connection slots are reserved for some",
            "Database connection limit reached",
        ),
        ("FATAL:  the database system is starting up", "Database is starting up"),
        ("FATAL:  the database system is in recovery mode", "Database is starting up"),
        ("FATAL:  the database system is shutting down", "Database is shutting down"),
        (
            "server does not support SSL, but SSL was required",
            "Database connection could not be secured",
        ),
        ("SSL error: certificate verify failed", "Database connection could not be secured"),
        ("session is read-only", "Database has not the wanted role"),
        ("server closed the connection unexpectedly", "Database connection lost"),
        ("FATAL:  something nobody has thought of", "Database error"),
        ("FATAL:  Passwort-Authentifizierung für Benutzer »a« fehlgeschlagen", "Database error"),
    ],
)
@pytest.mark.parametrize("host", ["db.example", "ssl-starting up.role failed: example"])
def test_refusals_of_a_server(text: str, sentence: str, host: str) -> None:
    assert message_for(psycopg.OperationalError(AT % host + text)) == sentence


def test_a_missing_socket_is_a_refusal() -> None:
    text = 'connection to server on socket "/run/.s.PGSQL.5432" failed: No such file or directory'

    assert message_for(psycopg.OperationalError(text)) == "Database refused the connection"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (psycopg.errors.AdminShutdown("x"), "Database is shutting down"),
        (psycopg.errors.TooManyConnections("x"), "Database connection limit reached"),
        (psycopg.errors.InvalidPassword("x"), "Database authentication failed"),
        (psycopg.errors.UndefinedTable("x"), "Database error"),
        (NoAnswer("x"), "Database timeout"),
        (HostNotResolvable("x"), "Database host not resolvable"),
        (ConnectionLost("x"), "Database connection lost"),
        (FileNotFoundError("x"), "Database file not accessible"),
        (sqlite3.OperationalError("x"), "Database error"),
        (ValueError("x"), "Database error"),
    ],
)
def test_errors_by_class_and_sqlstate(error: Exception, sentence: str) -> None:
    assert message_for(error) == sentence
