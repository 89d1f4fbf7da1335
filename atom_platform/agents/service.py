"""The operations of the API: create, change, list, delete and run agents."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from atom_platform.agents.model import (
    Agent,
    Execution,
    ExecutionNotStored,
    FieldError,
    InvalidAgent,
    Step,
    StoreUnavailable,
)
from atom_platform.agents.runner import AgentRunner
from atom_platform.agents.store import AgentStore
from atom_platform.skills.registry import SkillRegistry, UnknownSkill
from atom_platform.skills.step_data import find_input_errors
from atom_platform.skills.templates import Templates

__all__ = ["AgentService"]

log = logging.getLogger("atom_platform.agents")


class AgentService:
    """
    The operations on agents and executions.

    Raises:
        StoreUnavailable: From every method, if the database is unavailable.
    """

    def __init__(self, store: AgentStore, skills: SkillRegistry) -> None:
        self.skills = skills
        self._store = store
        self._templates = Templates()
        self._runner = AgentRunner(skills, self._templates, on_finished=self._store_execution)

    def create(self, agent_id: str, name: str, steps: Sequence[Step]) -> Agent:
        """
        Store a new agent and return it.

        Raises:
            AgentExists: The id is taken.
            InvalidAgent: A step names an unknown skill, or its values do not fit the skill.
        """
        self._validate(steps)
        now = datetime.now(UTC)
        agent = Agent(agent_id, name, tuple(steps), created_at=now, updated_at=now)
        self._store.add(agent)
        return agent

    def replace(self, agent_id: str, name: str, steps: Sequence[Step]) -> Agent:
        """
        Change an agent's name and steps, and return it. Runs in progress keep the old steps.

        Raises:
            AgentNotFound: No agent has this id; only `create` makes one.
            InvalidAgent: As for `create`.
        """
        self._validate(steps)
        return self._store.replace(agent_id, name, steps)

    def delete(self, agent_id: str) -> None:
        """
        Delete an agent. Its executions stay; a run in progress finishes and is stored.

        Raises:
            AgentNotFound: No agent has this id.
        """
        self._store.remove(agent_id)

    def agent(self, agent_id: str) -> Agent:
        """
        Return an agent.

        Raises:
            AgentNotFound: No agent has this id.
        """
        return self._store.agent(agent_id)

    def agents(self, *, limit: int, after: str | None = None) -> list[Agent]:
        """Return up to *limit* agents in the order of their ids, starting behind the id *after*."""
        return self._store.agents(limit=limit, after=after)

    def execution(self, execution_id: str) -> Execution:
        """
        Return an execution, also of an agent that has been deleted.

        Raises:
            ExecutionNotFound: No execution has this id.
        """
        return self._store.execution(execution_id)

    def executions(
        self, agent_id: str, *, limit: int, before: str | None = None
    ) -> list[Execution]:
        """
        Return up to *limit* executions of an agent, newest first, older than *before*.

        Raises:
            AgentNotFound: No agent has this id, and no execution names it.
        """
        found = self._store.executions(agent_id, limit=limit, before=before)
        if not found and before is None:
            self._store.agent(agent_id)
        return found

    def run(self, agent_id: str, given: Mapping[str, Any]) -> Execution:
        """
        Run an agent on the input *given*, store the execution, and return it.

        An exception of a skill ends the run and is reported in the execution, not raised here.

        Raises:
            AgentNotFound: No agent has this id.
            ExecutionNotStored: The agent ran, but the database is unavailable.
        """
        return self._runner.run(self._store.agent(agent_id), given)

    def _store_execution(self, execution: Execution) -> None:
        try:
            self._store.add_execution(execution)
        except StoreUnavailable as error:
            log.error("execution_not_stored", extra={"status": execution.status})
            raise ExecutionNotStored(execution) from error

    def _validate(self, steps: Sequence[Step]) -> None:
        errors = tuple(
            error for i, step in enumerate(steps) for error in self._step_errors(i, step)
        )
        if errors:
            raise InvalidAgent(errors)

    def _step_errors(self, index: int, step: Step) -> Iterator[FieldError]:
        at: tuple[str | int, ...] = ("steps", index)
        try:
            skill = self.skills[step.skill]
        except UnknownSkill:
            yield FieldError((*at, "skill"), "There is no skill with this id")
            return
        for path, message in find_input_errors(skill, step.values, self._templates):
            yield FieldError((*at, "with", *path), message)
