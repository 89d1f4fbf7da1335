"""The migrations make just the tables that the code speaks of, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, inspect, select
from sqlalchemy.exc import StatementError

from atom_platform.database.engine import Database
from atom_platform.database.schema import agents, metadata

ROW = {"agent_id": "a", "name": "A", "steps": []}


def test_migrations_and_tables_agree(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})

        assert compare_metadata(context, metadata) == []


def test_newest_first_has_an_index(database: Database) -> None:
    indexes = inspect(database.engine).get_indexes("executions")

    assert ["agent_id", "execution_id"] in [index["column_names"] for index in indexes]


def test_moments_come_back_in_utc(database: Database) -> None:
    in_tokyo = datetime(2026, 2, 17, 4, 15, 0, 123456, timezone(timedelta(hours=9)))
    with database.write() as connection:
        connection.execute(insert(agents).values(**ROW, created_at=in_tokyo, updated_at=in_tokyo))

    with database.read() as connection:
        moment = connection.execute(select(agents.c.created_at)).scalar_one()

    assert moment == in_tokyo
    assert moment.tzinfo is UTC
    assert moment.hour == 19


def test_naive_moments_are_refused(database: Database) -> None:
    naive = datetime(2026, 2, 17)

    with pytest.raises(StatementError, match="naive"), database.write() as connection:
        connection.execute(insert(agents).values(**ROW, created_at=naive, updated_at=naive))
