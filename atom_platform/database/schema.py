"""The tables, for SQLite and PostgreSQL alike."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

__all__ = ["UtcDateTime", "agents", "executions", "metadata"]


class UtcDateTime(TypeDecorator[datetime]):
    """
    A moment, in UTC on both sides.

    SQLite stores no time zone; without this type it would return an aware time as a naive one.

    Raises:
        ValueError: The time to store is naive, so its time zone is unknown.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive time cannot be stored")
        in_utc = value.astimezone(UTC)
        return in_utc.replace(tzinfo=None) if dialect.name == "sqlite" else in_utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


#: Constraints have names, so that a later migration finds them in both databases.
metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

agents: Final = Table(
    "agents",
    metadata,
    Column("agent_id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("steps", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

# No foreign key to agents: executions stay on record when their agent is deleted, even while it
# runs. An execution's id begins with its start time, so one index serves "newest first per agent"
# and the cursor of its pages.
executions: Final = Table(
    "executions",
    metadata,
    Column("execution_id", String(36), primary_key=True),
    Column("agent_id", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime, nullable=False),
    Column("duration_ms", Float, nullable=False),
    Column("input", JSON, nullable=False),
    Column("steps", JSON, nullable=False),
    Index(None, "agent_id", "execution_id"),
)
