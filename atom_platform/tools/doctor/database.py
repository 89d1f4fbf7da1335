"""Examines the database: whether it answers, how fast, its schema and its connection limit."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atom_platform.database.engine import Database, open_database
from atom_platform.database.migrate import schema_state
from atom_platform.database.sqlite import path_of
from atom_platform.health.check import CheckFailed
from atom_platform.settings import Settings, SettingsError
from atom_platform.tools.doctor.advice import advice_for
from atom_platform.tools.doctor.findings import Finding, error, note, ok, warning

__all__ = ["check_database"]

AREA = "database"

#: The guide's thresholds for the query of the readiness probe.
WARNING_MS = 50.0
CRITICAL_MS = 100.0

#: The share of PostgreSQL's connections that one instance may use without a warning.
SHARE_OF_CONNECTIONS = 0.8


def check_database(settings: Settings) -> Iterator[Finding]:
    """Yield the findings for the database; nothing is written or created."""
    try:
        database = open_database(settings)
    except SettingsError as problem:
        yield error(
            AREA,
            "database-url-invalid",
            str(problem),
            why="The service does not start.",
            do="Correct DATABASE_URL.",
        )
        return
    try:
        if database.is_sqlite and (file := _missing_file(settings)) is not None:
            yield from _check_missing_file(file)
        else:
            yield from _check_answers(database, settings)
    finally:
        database.dispose()


def _missing_file(settings: Settings) -> Path | None:
    path = path_of(settings.database_url)
    return None if path is None or path.exists() else path


def _check_missing_file(path: Path) -> Iterator[Finding]:
    parent = next(each for each in path.absolute().parents if each.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        yield note(
            AREA, "database-new", "The SQLite file does not exist; the first start creates it"
        )
    else:
        yield error(
            AREA,
            "database-not-creatable",
            f"The SQLite file does not exist, and {parent} is not writable",
            why="The service cannot store anything: readiness answers 503.",
            do="Mount a writable volume there, or set DATABASE_URL to a PostgreSQL server.",
        )


def _check_answers(database: Database, settings: Settings) -> Iterator[Finding]:
    try:
        database.ping()
        start = time.perf_counter()
        database.ping()
        latency_ms = (time.perf_counter() - start) * 1000
    except CheckFailed as problem:
        yield error(
            AREA,
            "database-unreachable",
            str(problem),
            why="Readiness answers 503 and the service gets no traffic.",
            do=advice_for(problem.code),
        )
        return
    yield _latency(latency_ms)
    try:
        state = schema_state(database)
    except CheckFailed as problem:
        yield error(
            AREA,
            "schema-unknown",
            f"The schema cannot be read: {problem}",
            why="Startup and readiness answer 503 until it can.",
            do=advice_for(problem.code),
        )
        return
    yield _schema(state, embedded=database.is_sqlite)
    if not database.is_sqlite:
        yield from _connections(database, settings)


def _latency(milliseconds: float) -> Finding:
    what = f"The database answers in {milliseconds:.1f} ms"
    if milliseconds <= WARNING_MS:
        return ok(AREA, "database-answers", what)
    make = error if milliseconds > CRITICAL_MS else warning
    return make(
        AREA,
        "database-slow",
        what,
        why=f"Above {WARNING_MS:g} ms the queries of a request add up to a noticeable delay.",
        do="Look at the network and at the server's load; run the server nearer; use PgBouncer if "
        "connecting takes long.",
    )


def _schema(state: str, *, embedded: bool) -> Finding:
    if state == "current":
        return ok(AREA, "schema-current", "The schema is that of this version")
    if state == "ahead":
        return error(
            AREA,
            "schema-ahead",
            "The schema is newer than this version knows",
            why="Readiness answers 503: this version might misread or damage the data.",
            do=advice_for("schema_ahead"),
        )
    if embedded:
        return note(AREA, "schema-behind", "The schema is behind; the next start migrates it")
    return error(
        AREA,
        "schema-behind",
        "The schema is behind this version",
        why="Startup and readiness answer 503 until it is migrated.",
        do=advice_for("schema_behind"),
    )


def _connections(database: Database, settings: Settings) -> Iterator[Finding]:
    # The readiness check has a connection of its own beside the pool.
    wanted = settings.workers * (settings.database_pool_size + 1)

    def limit(connection: Any) -> int:
        return int(connection.exec_driver_sql("SHOW max_connections").scalar())

    try:
        allowed = database.run(limit, read_only=True)
    except Exception:  # a connection pooler may refuse the query
        return
    what = f"Up to {wanted} connections per instance, of {allowed} that the server allows"
    if wanted <= allowed * SHARE_OF_CONNECTIONS:
        yield ok(AREA, "connections-allowed", what)
    else:
        yield warning(
            AREA,
            "connections-many",
            what,
            why="With all instances together the limit will be reached, and connecting fails.",
            do="Reduce WEB_CONCURRENCY or ATOM_DB_POOL_SIZE, raise max_connections, or put "
            "PgBouncer in between.",
        )
