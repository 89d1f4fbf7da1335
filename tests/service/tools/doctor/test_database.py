"""check_database asks as the service does, and creates nothing."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from atom_platform.database.engine import open_database
from atom_platform.database.migrate import upgrade
from atom_platform.settings import Settings
from atom_platform.tools.doctor import database
from atom_platform.tools.doctor.database import check_database
from tests.support.doctor_parts import codes, one
from tests.support.ports import free_port
from tests.support.postgres import PostgreSQL


@pytest.fixture(name="silent_port")
def _silent_port() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture(name="migrated")
def _migrated(tmp_path: Path) -> Settings:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/atom.db")
    made = open_database(settings)
    upgrade(made)
    made.dispose()
    return settings


def test_a_current_database_is_ok(migrated: Settings) -> None:
    findings = list(check_database(migrated))

    assert [finding.code for finding in findings] == ["database-answers", "schema-current"]
    assert codes(findings) == set()


def test_a_missing_sqlite_file_is_not_created(tmp_path: Path) -> None:
    (finding,) = check_database(Settings(database_url=f"sqlite:///{tmp_path}/var/atom.db"))

    assert (finding.severity, finding.code) == ("note", "database-new")
    assert list(tmp_path.iterdir()) == []


def test_a_newer_schema_is_an_error(migrated: Settings) -> None:
    path = migrated.database_url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()

    finding = one(check_database(migrated), "schema-ahead")

    assert finding.severity == "error"
    assert "Deploy the version" in finding.do


def test_a_slow_database_is_reported(migrated: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WARNING_MS", 0.0)
    assert codes(check_database(migrated), "warning") == {"database-slow"}

    monkeypatch.setattr(database, "CRITICAL_MS", 0.0)
    assert codes(check_database(migrated), "error") == {"database-slow"}


def test_a_refused_connection_is_an_error() -> None:
    url = f"postgresql://atom:hunter22@127.0.0.1:{free_port()}/atom"

    (finding,) = check_database(Settings(database_url=url))

    assert (finding.severity, finding.code) == ("error", "database-unreachable")
    assert finding.what == "Database refused the connection"
    assert "Start the dependency" in finding.do


def test_a_silent_database_is_an_error(silent_port: int) -> None:
    url = f"postgresql://atom:hunter22@127.0.0.1:{silent_port}/atom"

    (finding,) = check_database(Settings(database_url=url, database_check_timeout_seconds=0.5))

    assert finding.what == "Database timeout after 0.5s"


def test_a_missing_migration_is_an_error(postgresql: PostgreSQL) -> None:
    settings = Settings(database_url=postgresql.create_database("doctor"))

    finding = one(check_database(settings), "schema-behind")

    assert finding.severity == "error"
    assert "atom-platform migrate" in finding.do


def test_connections_of_all_workers_are_added(postgresql: PostgreSQL) -> None:
    """Each worker has its pool, and one connection for the readiness check."""
    url = postgresql.create_database("doctor")

    few = list(check_database(Settings(database_url=url)))
    many = list(check_database(Settings(database_url=url, workers=20)))

    assert one(few, "database-answers").severity == "ok"
    assert one(few, "connections-allowed").what.startswith("Up to 12 connections")
    assert one(many, "connections-many").severity == "warning"


def test_a_password_is_not_shown(postgresql: PostgreSQL) -> None:
    url = postgresql.url("no_such_database").replace("postgres@", "postgres:hunter22@")

    (finding,) = check_database(Settings(database_url=url))

    assert finding.what == "Database does not exist"
