"""Stores agents and executions in the relational database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, delete, exc, insert, select, update

from atom_platform.agents.model import (
    Agent,
    AgentExists,
    AgentNotFound,
    Execution,
    ExecutionNotFound,
    Step,
    StepResult,
    StoreUnavailable,
)
from atom_platform.database.engine import Database
from atom_platform.database.schema import agents, executions

__all__ = ["AgentStore"]

log = logging.getLogger("atom_platform.agents")

T = TypeVar("T")


class AgentStore:
    """
    Agents and executions in the relational database.

    Raises:
        StoreUnavailable: From every method, if the database is unavailable. The cause is in the
            log only.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, agent: Agent) -> None:
        """
        Store a new agent.

        Raises:
            AgentExists: Another agent has its id.
        """
        statement = insert(agents).values(**_agent_row(agent))
        try:
            self._write(lambda connection: connection.execute(statement))
        except exc.IntegrityError:
            raise AgentExists(agent.agent_id) from None

    def replace(self, agent_id: str, name: str, steps: Sequence[Step]) -> Agent:
        """
        Change an agent's name and steps, and return it.

        Raises:
            AgentNotFound: No agent has this id.
        """
        statement = (
            update(agents)
            .where(agents.c.agent_id == agent_id)
            .values(
                name=name,
                steps=[step.as_dict() for step in steps],
                updated_at=datetime.now(UTC),
            )
            .returning(agents)
        )
        row = self._write(lambda connection: connection.execute(statement).first(), idempotent=True)
        if row is None:
            raise AgentNotFound(agent_id)
        return _agent(row)

    def remove(self, agent_id: str) -> None:
        """
        Delete an agent; its executions stay.

        Raises:
            AgentNotFound: No agent has this id.
        """
        statement = delete(agents).where(agents.c.agent_id == agent_id)
        if not self._write(lambda connection: connection.execute(statement).rowcount):
            raise AgentNotFound(agent_id)

    def agent(self, agent_id: str) -> Agent:
        """
        Return the agent *agent_id*.

        Raises:
            AgentNotFound: No agent has this id.
        """
        rows = self._rows(select(agents).where(agents.c.agent_id == agent_id))
        if not rows:
            raise AgentNotFound(agent_id)
        return _agent(rows[0])

    def agents(self, *, limit: int, after: str | None = None) -> list[Agent]:
        """Return up to *limit* agents in the order of their ids, starting behind the id *after*."""
        statement = select(agents).order_by(agents.c.agent_id).limit(limit)
        if after is not None:
            statement = statement.where(agents.c.agent_id > after)
        return [_agent(row) for row in self._rows(statement)]

    def add_execution(self, execution: Execution) -> None:
        """Store an execution that has ended."""
        statement = insert(executions).values(
            execution_id=execution.execution_id,
            agent_id=execution.agent_id,
            status=execution.status,
            started_at=execution.started_at,
            finished_at=execution.finished_at,
            duration_ms=execution.duration_ms,
            input=dict(execution.input),
            steps=[step.as_dict() for step in execution.steps],
        )
        try:
            self._write(lambda connection: connection.execute(statement), idempotent=True)
        except exc.IntegrityError:
            # The id is unique to this run: an earlier try was stored, and its answer was lost.
            log.info("execution_stored_before", extra={"execution_id": execution.execution_id})

    def execution(self, execution_id: str) -> Execution:
        """
        Return the execution *execution_id*.

        Raises:
            ExecutionNotFound: No execution has this id.
        """
        rows = self._rows(select(executions).where(executions.c.execution_id == execution_id))
        if not rows:
            raise ExecutionNotFound(execution_id)
        return _execution(rows[0])

    def executions(
        self, agent_id: str, *, limit: int, before: str | None = None
    ) -> list[Execution]:
        """Return up to *limit* executions of an agent, newest first, older than *before*."""
        statement = (
            select(executions)
            .where(executions.c.agent_id == agent_id)
            .order_by(executions.c.execution_id.desc())
            .limit(limit)
        )
        if before is not None:
            statement = statement.where(executions.c.execution_id < before)
        return [_execution(row) for row in self._rows(statement)]

    def _rows(self, statement: Any) -> Sequence[Row[Any]]:
        def read(connection: Connection) -> Sequence[Row[Any]]:
            return connection.execute(statement).all()

        with _translated_errors():
            return self._database.run(read, read_only=True)

    def _write(self, work: Callable[[Connection], T], *, idempotent: bool = False) -> T:
        with _translated_errors():
            return self._database.run(work, idempotent=idempotent)


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Turn errors of the database's availability into StoreUnavailable; others pass."""
    try:
        yield
    except (exc.IntegrityError, exc.DataError):
        raise
    except (exc.DBAPIError, exc.TimeoutError, OSError) as error:
        # A missing table is an OperationalError in SQLite, a ProgrammingError in psycopg.
        log.error("store_unavailable", exc_info=True)
        raise StoreUnavailable(type(error).__name__) from error


def _agent_row(agent: Agent) -> dict[str, Any]:
    return {
        "agent_id": agent.agent_id,
        "name": agent.name,
        "steps": [step.as_dict() for step in agent.steps],
        "created_at": agent.created_at,
        "updated_at": agent.updated_at,
    }


def _agent(row: Row[Any]) -> Agent:
    return Agent(
        agent_id=row.agent_id,
        name=row.name,
        steps=tuple(Step(each["skill"], each["with"]) for each in row.steps),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _execution(row: Row[Any]) -> Execution:
    return Execution(
        execution_id=row.execution_id,
        agent_id=row.agent_id,
        status=row.status,
        started_at=row.started_at,
        finished_at=row.finished_at,
        duration_ms=row.duration_ms,
        input=row.input,
        steps=tuple(StepResult(**each) for each in row.steps),
    )
