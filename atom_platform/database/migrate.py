"""Migrates the database to the schema of this version; one process does it, the others wait."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, exc

from atom_platform.database.engine import Database
from atom_platform.database.errors import failure_for
from atom_platform.health.check import CheckFailed
from atom_platform.health.checks.schema import SchemaState

__all__ = ["known_revisions", "schema_state", "upgrade"]

log = logging.getLogger("atom_platform.database")

MIGRATIONS: Final = Path(__file__).parent / "migrations"

#: Any number that no other program locks in the same database: "atom" in ASCII.
ADVISORY_LOCK: Final = 0x61746F6D


def upgrade(database: Database) -> SchemaState:
    """
    Apply the missing migrations, and return the state afterwards.

    Workers and replicas may call it at the same time: one migrates, the others wait for it. All
    migrations are one transaction, so a failing one changes nothing. A schema newer than the code
    is left alone.

    Raises:
        sqlalchemy.exc.DBAPIError: The database cannot be used, or refuses a migration.
    """
    with database.migrating() as connection:
        if connection.dialect.name == "postgresql":
            # Held to the end of the transaction, which PgBouncer leaves on one server session.
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
        state = _state_of(connection)
        if state == "behind":
            _run_alembic(connection)
            state = _state_of(connection)
            log.info("database_migrated", extra={"revision": known_revisions()[-1]})
        elif state == "ahead":
            log.warning("database_schema_ahead", extra={"newest_known": known_revisions()[-1]})
    return state


def schema_state(database: Database) -> SchemaState:
    """
    Compare the database's schema with the code's; reads one row and does not load Alembic.

    Raises:
        CheckFailed: The database cannot be read.
    """
    try:
        return database.run(_state_of, read_only=True)
    except exc.DBAPIError as error:
        raise failure_for(error.orig or error) from error
    except exc.SQLAlchemyError as error:
        raise CheckFailed("Database connection pool exhausted", code="pool_exhausted") from error


def known_revisions() -> list[str]:
    """Return the revisions of this code, oldest first, from the names of the migration files."""
    return sorted(
        path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py")
    )


def _state_of(connection: Connection) -> SchemaState:
    """Compare the revision in the database with those of this code."""
    if connection.dialect.name == "postgresql":
        table = "SELECT to_regclass('alembic_version')"
    else:
        table = "SELECT name FROM sqlite_master WHERE name = 'alembic_version'"
    if connection.exec_driver_sql(table).scalar() is None:
        return "behind"
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    known = known_revisions()
    if found == known[-1]:
        return "current"
    return "behind" if found is None or found in known else "ahead"


def _run_alembic(connection: Connection) -> None:
    # Alembic logs each of its plugins at INFO.
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    # Imported here because it is large, and a current database does not need it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
