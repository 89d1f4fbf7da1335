"""Runs an agent: its steps in order, each timed, counted and logged."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from atom_platform.agents.model import (
    Agent,
    Execution,
    ExecutionStatus,
    Step,
    StepResult,
    new_execution_id,
)
from atom_platform.logs.context import RequestContext
from atom_platform.metrics.track import track_agent, track_skill
from atom_platform.skills import SkillFailed
from atom_platform.skills.registry import SkillRegistry, UnknownSkill
from atom_platform.skills.step_data import InvalidInput, bounded_output, clean_text, validate_input
from atom_platform.skills.templates import TemplateFailed, Templates

__all__ = ["AgentRunner", "FinishedStep", "FinishedSteps"]

log = logging.getLogger("atom_platform.agents")

MAX_MESSAGE_CHARACTERS: Final = 1_000

#: Errors whose own messages are written by this package, and safe to show.
EXPLAINED_ERRORS: Final = (InvalidInput, TemplateFailed)


class FinishedStep:
    """
    A finished step, as templates see it: `steps[0].output` and `steps[0].skill`.

    It also behaves like its output: `{{ steps[0] }}` prints the output, `steps[0].status` reads the
    output's field `status`.
    """

    __slots__ = ("output", "skill")

    def __init__(self, skill: str, output: Any) -> None:
        self.skill = skill
        self.output = output

    def __getitem__(self, key: Any) -> Any:
        return self.output[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.output)

    def __str__(self) -> str:
        if isinstance(self.output, str):
            return self.output
        return json.dumps(self.output, ensure_ascii=False)


class FinishedSteps(list[FinishedStep]):
    """The finished steps by position, or by skill: `steps["http-request"]` is its latest."""

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return super().__getitem__(key)
        for step in reversed(self):
            if step.skill == key:
                return step
        raise KeyError(key)


class AgentRunner:
    """
    Runs agents; one object serves all threads.

    Args:
        on_finished: Called with every execution that has ended, whatever its status.
    """

    def __init__(
        self,
        skills: SkillRegistry,
        templates: Templates,
        *,
        on_finished: Callable[[Execution], None],
    ) -> None:
        self._skills = skills
        self._templates = templates
        self._on_finished = on_finished

    def run(self, agent: Agent, given: Mapping[str, Any]) -> Execution:
        """
        Run *agent* on the input *given*, store the execution, and return it.

        An exception of a skill ends the run and is not raised here. SystemExit and its like are
        raised after the execution is stored.
        """
        started_ns, started = time.time_ns(), time.perf_counter()
        execution_id = new_execution_id(started_ns)
        results: list[StepResult] = []
        status: ExecutionStatus = "error"
        with RequestContext(agent_id=agent.agent_id, execution_id=execution_id):
            log.info("Agent started")
            try:
                with track_agent(agent.agent_id):
                    self._run_steps(agent.steps, given, results)
                status = "success"
            except SkillFailed:
                status = "failure"
            except Exception:  # the step that raised it has recorded and logged it
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
                    steps=tuple(results),
                )
                finished = {"status": status, "duration_ms": execution.duration_ms}
                log.info("agent_finished", extra=finished)
                self._on_finished(execution)
        return execution

    def _run_steps(
        self, steps: Sequence[Step], given: Mapping[str, Any], results: list[StepResult]
    ) -> None:
        earlier = FinishedSteps()
        for step in steps:
            output = self._run_step(step, {"input": given, "steps": earlier}, results)
            earlier.append(FinishedStep(step.skill, output))

    def _run_step(
        self, step: Step, variables: Mapping[str, object], results: list[StepResult]
    ) -> Any:
        started = time.perf_counter()
        status: ExecutionStatus = "success"
        output, message = None, None
        try:
            with track_skill(step.skill):
                skill = self._skills[step.skill]
                values = self._templates.render(dict(step.values), variables)
                output = bounded_output(skill.run(validate_input(skill, values)))
        except BaseException as error:
            status, message = _classify(error)
            _log_step_error(step, error, status, message)
            raise
        finally:
            duration_ms = _milliseconds(time.perf_counter() - started)
            results.append(StepResult(step.skill, status, duration_ms, output, message))
        return output


def _classify(error: BaseException) -> tuple[ExecutionStatus, str]:
    """Return the status of the step that *error* ended, and a message that is safe to show."""
    if isinstance(error, SkillFailed):
        return "failure", clean_text(str(error), max_characters=MAX_MESSAGE_CHARACTERS)
    if isinstance(error, EXPLAINED_ERRORS):
        return "error", clean_text(str(error), max_characters=MAX_MESSAGE_CHARACTERS)
    if isinstance(error, UnknownSkill):
        return "error", "There is no skill with this id any more."
    # The text of any other exception may name hosts or users.
    return "error", f"{type(error).__name__}: the skill raised an exception; see the log."


def _log_step_error(
    step: Step, error: BaseException, status: ExecutionStatus, message: str
) -> None:
    fields = {"skill_id": step.skill, "reason": message}
    if status == "failure":
        log.warning("skill_failed", extra=fields)
    else:
        log.error(
            "skill_error",
            extra=fields,
            exc_info=None if isinstance(error, EXPLAINED_ERRORS) else error,
        )


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
