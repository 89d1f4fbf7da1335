"""Agents, executions and their errors as frozen values; imports nothing of the package."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

__all__ = [
    "Agent",
    "AgentError",
    "AgentExists",
    "AgentNotFound",
    "Execution",
    "ExecutionNotFound",
    "ExecutionNotStored",
    "ExecutionStatus",
    "FieldError",
    "InvalidAgent",
    "Step",
    "StepResult",
    "StoreUnavailable",
    "new_execution_id",
    "timestamp",
]

ExecutionStatus = Literal["success", "failure", "error"]


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a skill. *values* are the input under `with`, and may hold templates."""

    skill: str
    values: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the step as part of an agent's JSON."""
        return {"skill": self.skill, "with": dict(self.values)}


@dataclass(frozen=True, slots=True)
class Agent:
    """An ordered list of steps under an id."""

    agent_id: str
    name: str
    steps: tuple[Step, ...]
    created_at: datetime
    updated_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """Return the agent's JSON."""
        return {
            "agent_id": self.agent_id,
            "name": self.name,
            "steps": [step.as_dict() for step in self.steps],
            "created_at": timestamp(self.created_at),
            "updated_at": timestamp(self.updated_at),
        }


@dataclass(frozen=True, slots=True)
class StepResult:
    """
    The result of a step that ran.

    Attributes:
        output: The skill's return value, as JSON; None unless the step succeeded.
        error: One sentence for a user; None if the step succeeded.
    """

    skill: str
    status: ExecutionStatus
    duration_ms: float
    output: Any
    error: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the result as part of an execution's JSON."""
        return {
            "skill": self.skill,
            "status": self.status,
            "duration_ms": self.duration_ms,
            "output": self.output,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of an agent. *steps* ends with the first step that did not succeed."""

    execution_id: str
    agent_id: str
    status: ExecutionStatus
    started_at: datetime
    finished_at: datetime
    duration_ms: float
    input: Mapping[str, Any]
    steps: tuple[StepResult, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the execution's JSON. The input is stored, but not returned."""
        return {
            "execution_id": self.execution_id,
            "agent_id": self.agent_id,
            "status": self.status,
            "started_at": timestamp(self.started_at),
            "finished_at": timestamp(self.finished_at),
            "duration_ms": self.duration_ms,
            "steps": [step.as_dict() for step in self.steps],
        }


@dataclass(frozen=True, slots=True)
class FieldError:
    """One error in a request body: its path (keys and indexes, outermost first) and a message."""

    path: tuple[str | int, ...]
    message: str


class AgentError(Exception):
    """Base class of the errors that the API answers with a problem."""


class AgentNotFound(AgentError):
    """No agent has this id."""


class AgentExists(AgentError):
    """Another agent has this id."""


class ExecutionNotFound(AgentError):
    """No execution has this id."""


class InvalidAgent(AgentError):
    """A step names an unknown skill, or its values do not fit the skill; *errors* say where."""

    def __init__(self, errors: tuple[FieldError, ...]) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors = errors


class StoreUnavailable(AgentError):
    """The database is unavailable; nothing was changed."""


class ExecutionNotStored(StoreUnavailable):
    """An agent ran, but its execution could not be stored."""

    def __init__(self, execution: Execution) -> None:
        super().__init__(execution.execution_id)
        self.execution = execution


def timestamp(moment: datetime) -> str:
    """Return *moment* as RFC 3339 in UTC with milliseconds and `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_execution_id(started_ns: int) -> str:
    """
    Return a new UUID of version 7 for a run that started at *started_ns* (Unix time).

    Ids sort by start time, to a quarter of a microsecond. "Newest first" therefore needs no other
    column, and two consecutive runs keep their order.
    """
    milliseconds, rest_ns = divmod(started_ns, 1_000_000)
    fraction = rest_ns * 4096 // 1_000_000
    time_bits = milliseconds << 80 | 0x7 << 76 | fraction << 64
    return str(UUID(int=time_bits | 0b10 << 62 | secrets.randbits(62)))
