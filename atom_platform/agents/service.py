"""Keeping agents, and running them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from atom_platform.agents.model import (
    Agent,
    AgentInvalid,
    Execution,
    ExecutionNotStored,
    Fault,
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
    What can be done with agents.

    Raises:
        StoreUnavailable: From every method, if the database cannot be used.
    """

    def __init__(self, store: AgentStore, skills: SkillRegistry) -> None:
        self.skills = skills
        self._store = store
        self._templates = Templates()
        self._runner = AgentRunner(skills, self._templates, keep=self._keep)

    def create(self, agent_id: str, name: str, steps: Sequence[Step]) -> Agent:
        """
        Store a new agent and return it.

        Raises:
            AgentExists: The id is taken.
            AgentInvalid: A step asks for a skill that there is not, or for what it does not take.
        """
        self._check(steps)
        now = datetime.now(UTC)
        agent = Agent(agent_id, name, tuple(steps), created_at=now, updated_at=now)
        self._store.add(agent)
        return agent

    def replace(self, agent_id: str, name: str, steps: Sequence[Step]) -> Agent:
        """
        Give an agent a new name and new steps, and return it. Runs under way go on with the old.

        Raises:
            AgentNotFound: There is none with this id: what makes an agent is `create`.
            AgentInvalid: As for `create`.
        """
        self._check(steps)
        return self._store.replace(agent_id, name, steps)

    def delete(self, agent_id: str) -> None:
        """
        Delete an agent. Its executions stay, and one under way is finished and stored.

        Raises:
            AgentNotFound: There is none with this id.
        """
        self._store.remove(agent_id)

    def agent(self, agent_id: str) -> Agent:
        """
        Return an agent.

        Raises:
            AgentNotFound: There is none with this id.
        """
        return self._store.agent(agent_id)

    def agents(self, *, limit: int, after: str | None = None) -> list[Agent]:
        """Return up to *limit* agents in the order of their ids, those behind *after*."""
        return self._store.agents(limit=limit, after=after)

    def execution(self, execution_id: str) -> Execution:
        """
        Return an execution, also of an agent that has been deleted.

        Raises:
            ExecutionNotFound: There is none with this id.
        """
        return self._store.execution(execution_id)

    def executions(
        self, agent_id: str, *, limit: int, before: str | None = None
    ) -> list[Execution]:
        """
        Return up to *limit* executions of an agent, newest first, older than *before*.

        Raises:
            AgentNotFound: There is no such agent, and there is nothing that one did.
        """
        found = self._store.executions(agent_id, limit=limit, before=before)
        if not found and before is None:
            self._store.agent(agent_id)
        return found

    def run(self, agent_id: str, given: Mapping[str, Any]) -> Execution:
        """
        Run an agent on the input *given*, store what came of it, and return that.

        What a skill raises ends the run and is told in the execution: it does not come out here.

        Raises:
            AgentNotFound: There is none with this id.
            ExecutionNotStored: It has run, and the database cannot be used any more.
        """
        return self._runner.run(self._store.agent(agent_id), given)

    def _keep(self, execution: Execution) -> None:
        try:
            self._store.add_execution(execution)
        except StoreUnavailable as error:
            log.error("execution_not_stored", extra={"status": execution.status})
            raise ExecutionNotStored(execution) from error

    def _check(self, steps: Sequence[Step]) -> None:
        faults = tuple(fault for i, step in enumerate(steps) for fault in self._faults(i, step))
        if faults:
            raise AgentInvalid(faults)

    def _faults(self, index: int, step: Step) -> Iterator[Fault]:
        at: tuple[str | int, ...] = ("steps", index)
        try:
            skill = self.skills[step.skill]
        except UnknownSkill:
            yield Fault((*at, "skill"), "There is no skill with this id")
            return
        for path, message in find_input_errors(skill, step.values, self._templates):
            yield Fault((*at, "with", *path), message)
