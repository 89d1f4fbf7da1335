"""Running an agent: its steps in order, each timed, counted and told."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from atom_platform.agents.model import (
    Agent,
    Execution,
    Outcome,
    Step,
    StepOutcome,
    new_execution_id,
)
from atom_platform.agents.variables import EarlierStep, EarlierSteps
from atom_platform.logs.context import RequestContext
from atom_platform.metrics.track import track_agent, track_skill
from atom_platform.skills.failure import SkillFailed
from atom_platform.skills.inputs import InputRefused, checked_input
from atom_platform.skills.output import bounded_output, clean_text
from atom_platform.skills.registry import SkillRegistry, UnknownSkill
from atom_platform.skills.templates import TemplateFailed, Templates

__all__ = ["AgentRunner"]

log = logging.getLogger("atom_platform.agents")

MAX_SENTENCE_CHARACTERS: Final = 1_000

#: What says in its own text, written by us, why a step could not be done.
EXPLAINED: Final = (InputRefused, TemplateFailed)


class AgentRunner:
    """
    Runs agents; one object serves all threads.

    Args:
        keep: Called with every execution that has ended, however it ended.
    """

    def __init__(
        self, skills: SkillRegistry, templates: Templates, *, keep: Callable[[Execution], None]
    ) -> None:
        self._skills = skills
        self._templates = templates
        self._keep = keep

    def run(self, agent: Agent, given: Mapping[str, Any]) -> Execution:
        """
        Run *agent* on the input *given* and return what came of it, once it is kept.

        What a skill raises ends the run and does not come out here; what ends a process does, after
        the execution is kept.
        """
        started_ns, started = time.time_ns(), time.perf_counter()
        execution_id = new_execution_id(started_ns)
        outcomes: list[StepOutcome] = []
        status: Outcome = "error"
        with RequestContext(agent_id=agent.agent_id, execution_id=execution_id):
            log.info("Agent started")
            try:
                with track_agent(agent.agent_id):
                    self._run_steps(agent.steps, given, outcomes)
                status = "success"
            except SkillFailed:
                status = "failure"
            except Exception:  # told and logged with the step that it ended
                status = "error"
            finally:
                duration_seconds = time.perf_counter() - started
                started_at = datetime.fromtimestamp(started_ns / 1e9, UTC)
                execution = Execution(
                    execution_id,
                    agent.agent_id,
                    status,
                    started_at=started_at,
                    finished_at=started_at + timedelta(seconds=duration_seconds),
                    duration_ms=_milliseconds(duration_seconds),
                    input=given,
                    steps=tuple(outcomes),
                )
                finished = {"status": status, "duration_ms": execution.duration_ms}
                log.info("agent_finished", extra=finished)
                self._keep(execution)
        return execution

    def _run_steps(
        self, steps: Sequence[Step], given: Mapping[str, Any], outcomes: list[StepOutcome]
    ) -> None:
        earlier = EarlierSteps()
        for step in steps:
            output = self._run_step(step, {"input": given, "steps": earlier}, outcomes)
            earlier.append(EarlierStep(step.skill, output))

    def _run_step(
        self, step: Step, variables: Mapping[str, object], outcomes: list[StepOutcome]
    ) -> Any:
        started = time.perf_counter()
        status: Outcome = "success"
        output, sentence = None, None
        try:
            with track_skill(step.skill):
                skill = self._skills[step.skill]
                values = self._templates.render(dict(step.values), variables)
                output = bounded_output(skill.run(checked_input(skill, values)))
        except BaseException as error:
            status, sentence = _judged(error)
            _log_end_of(step, error, status, sentence)
            raise
        finally:
            duration_ms = _milliseconds(time.perf_counter() - started)
            outcomes.append(StepOutcome(step.skill, status, duration_ms, output, sentence))
        return output


def _judged(error: BaseException) -> tuple[Outcome, str]:
    """Return the status of a step that *error* ended, and what may be told to anyone about it."""
    if isinstance(error, SkillFailed):
        return "failure", clean_text(str(error), max_characters=MAX_SENTENCE_CHARACTERS)
    if isinstance(error, EXPLAINED):
        return "error", clean_text(str(error), max_characters=MAX_SENTENCE_CHARACTERS)
    if isinstance(error, UnknownSkill):
        return "error", "There is no skill with this id any more."
    # Its own text may name hosts, users or what else its author did not think of.
    return "error", f"{type(error).__name__}: the skill broke off; the log says where and why."


def _log_end_of(step: Step, error: BaseException, status: Outcome, sentence: str) -> None:
    fields = {"skill_id": step.skill, "reason": sentence}
    if status == "failure":
        log.warning("skill_failed", extra=fields)
    else:
        log.error(
            "skill_error", extra=fields, exc_info=None if isinstance(error, EXPLAINED) else error
        )


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
