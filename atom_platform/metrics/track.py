"""
Counts and times agents, skills and database statements: `with track_…():` or `@track_…()`.

`observe_query` is for statements that were timed elsewhere.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from threading import get_ident
from time import perf_counter
from types import TracebackType
from typing import Any, Final, TypeVar, cast

from atom_platform.metrics.catalog import (
    ACTIVE_AGENTS,
    AGENT_EXECUTION_DURATION,
    AGENT_EXECUTIONS,
    DB_QUERY_DURATION,
    SKILL_EXECUTION_DURATION,
    SKILL_EXECUTIONS,
    Definition,
)
from atom_platform.metrics.families import (
    CounterFamily,
    GaugeFamily,
    HistogramFamily,
    note_failure,
)
from atom_platform.metrics.label_limits import OTHER, LabelLimiter
from atom_platform.metrics.storage.storage import STORAGE
from atom_platform.skills import SkillFailed

__all__ = ["Tracker", "observe_query", "track_agent", "track_query", "track_skill"]

F = TypeVar("F", bound=Callable[..., Any])

_OPERATIONS: Final = frozenset(DB_QUERY_DURATION.values["operation"])
_queries: Final = HistogramFamily(DB_QUERY_DURATION)


class Tracker:
    """
    Times a block or each call of a function. May be nested and shared between threads.

    Exceptions of the block pass through. If the process forks inside the block, only the parent
    counts it.
    """

    __slots__ = ("_entered", "_on_enter", "_on_exit")

    def __init__(self, on_enter: Callable[[], None], on_exit: Callable[[float, str], None]) -> None:
        self._on_enter = on_enter
        self._on_exit = on_exit
        self._entered: dict[int, list[tuple[float, int]]] = {}

    def __enter__(self) -> None:
        entered = perf_counter(), STORAGE.fork_generation
        self._entered.setdefault(get_ident(), []).append(entered)
        self._on_enter()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        thread = get_ident()
        started_at, life = self._entered[thread].pop()
        if not self._entered[thread]:
            del self._entered[thread]
        if life == STORAGE.fork_generation:
            self._on_exit(perf_counter() - started_at, _outcome(exc_type))

    def __call__(self, function: F) -> F:
        """
        Return *function* with each call tracked; a coroutine function stays one.

        Raises:
            TypeError: *function* is a generator function, whose work happens after the call.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError("a generator function cannot be tracked: track its consumer")
        # One tracker per call: a shared one keeps a stack per thread, and coroutines of one thread
        # do not end in the reverse order of their starts.
        on_enter, on_exit = self._on_enter, self._on_exit
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def tracked_coroutine(*args: Any, **kwargs: Any) -> Any:
                with Tracker(on_enter, on_exit):
                    return await function(*args, **kwargs)

            return cast(F, tracked_coroutine)

        @functools.wraps(function)
        def tracked(*args: Any, **kwargs: Any) -> Any:
            with Tracker(on_enter, on_exit):
                return function(*args, **kwargs)

        return cast(F, tracked)


def _outcome(exc_type: type[BaseException] | None) -> str:
    if exc_type is None:
        return "success"
    return "failure" if issubclass(exc_type, SkillFailed) else "error"


class _Executions:
    """The metrics of agents, or those of skills."""

    def __init__(
        self,
        label: str,
        *,
        count: Definition,
        duration: Definition,
        active: Definition | None = None,
    ) -> None:
        self._count, self._duration = CounterFamily(count), HistogramFamily(duration)
        self._active = GaugeFamily(active) if active else None
        self._limiter = LabelLimiter(label, count, duration)

    def tracker(self, value: object) -> Tracker:
        def leave(seconds: float, outcome: str) -> None:
            self.record(value, seconds, outcome)

        return Tracker(self.enter, leave)

    def enter(self) -> None:
        if self._active is not None:
            self._active.add((), 1.0)

    def record(self, value: object, seconds: float, outcome: str) -> None:
        try:
            with STORAGE.lock:
                if self._active is not None:
                    self._active.add((), -1.0)  # first, so that no failure below leaves it high
                label = self._limiter.limit(value)
                new = not self._count.has((label, "success"))
                for status in ("success", "failure", "error") if new else ():
                    self._count.add((label, status), 0.0)  # a failure ratio is then 0, not absent
                self._count.add((label, outcome))
                self._duration.observe(seconds, (label,))
        except Exception as error:
            note_failure(self._count.definition, error)


_agents: Final = _Executions(
    "agent_id",
    count=AGENT_EXECUTIONS,
    duration=AGENT_EXECUTION_DURATION,
    active=ACTIVE_AGENTS,
)
_skills: Final = _Executions("skill_id", count=SKILL_EXECUTIONS, duration=SKILL_EXECUTION_DURATION)


def track_agent(agent_id: str) -> Tracker:
    """
    Count and time one execution of an agent; `active_agents` includes it while it runs.

    The status is `success` after a normal end, `failure` after `SkillFailed`, else `error`.
    """
    return _agents.tracker(agent_id)


def track_skill(skill_id: str) -> Tracker:
    """Count and time one execution of a skill, with the statuses of `track_agent`."""
    return _skills.tracker(skill_id)


def track_query(operation: str) -> Tracker:
    """Time one statement; *operation* is select, insert, update or delete, or counts as `other`."""
    return Tracker(lambda: None, lambda seconds, outcome: observe_query(operation, seconds))


def observe_query(operation: str, seconds: float) -> None:
    """Record a statement that took *seconds*; *operation* as in `track_query`. Never raises."""
    try:
        name = operation.lower()
        _queries.observe(seconds, (name if name in _OPERATIONS else OTHER,))
    except Exception as error:
        note_failure(DB_QUERY_DURATION, error)
