"""Agents and their executions as values, and what can be wrong with a wish about them."""

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
    "AgentInvalid",
    "AgentNotFound",
    "Execution",
    "ExecutionNotFound",
    "ExecutionNotStored",
    "Fault",
    "Outcome",
    "Step",
    "StepOutcome",
    "StoreUnavailable",
    "new_execution_id",
    "timestamp",
]

Outcome = Literal["success", "failure", "error"]


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a skill; *values* stand under `with` and may hold templates."""

    skill: str
    values: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the step as it is written in an agent's JSON."""
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
class StepOutcome:
    """
    What came of a step that was begun.

    Attributes:
        output: What the skill returned, as JSON; None unless the step succeeded.
        error: One sentence for a human; None if the step succeeded.
    """

    skill: str
    status: Outcome
    duration_ms: float
    output: Any
    error: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as it is written in an execution's JSON."""
        return {
            "skill": self.skill,
            "status": self.status,
            "duration_ms": self.duration_ms,
            "output": self.output,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of an agent; *steps* ends with the first that did not succeed."""

    execution_id: str
    agent_id: str
    status: Outcome
    started_at: datetime
    finished_at: datetime
    duration_ms: float
    input: Mapping[str, Any]
    steps: tuple[StepOutcome, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the execution's JSON; the input is stored, but not repeated to the caller."""
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
class Fault:
    """One thing wrong in a request: where (keys and indexes from the outside in), and what."""

    path: tuple[str | int, ...]
    message: str


class AgentError(Exception):
    """What was asked of agents cannot be done."""


class AgentNotFound(AgentError):
    """No agent has this id."""


class AgentExists(AgentError):
    """An agent has this id already."""


class ExecutionNotFound(AgentError):
    """No execution has this id."""


class AgentInvalid(AgentError):
    """An agent asks for what no skill can do; *faults* say where."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__(f"{len(faults)} faults")
        self.faults = faults


class StoreUnavailable(AgentError):
    """The database cannot be used right now; what was asked for has not been done."""


class ExecutionNotStored(StoreUnavailable):
    """An agent has run, but its execution could not be stored."""

    def __init__(self, execution: Execution) -> None:
        super().__init__(execution.execution_id)
        self.execution = execution


def timestamp(moment: datetime) -> str:
    """Return *moment* as RFC 3339 in UTC with milliseconds and `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_execution_id(started_ns: int) -> str:
    """
    Return a new UUID of version 7 for a run that began at *started_ns* (Unix time).

    Ids sort by the time of the start, to a quarter of a microsecond: "newest first" needs no other
    column, and two runs a request apart never change places.
    """
    milliseconds, rest_ns = divmod(started_ns, 1_000_000)
    fraction = rest_ns * 4096 // 1_000_000
    time_bits = milliseconds << 80 | 0x7 << 76 | fraction << 64
    return str(UUID(int=time_bits | 0b10 << 62 | secrets.randbits(62)))
