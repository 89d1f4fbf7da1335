"""Timing and counting agents, skills and database statements: `with track_…` or `@track_…`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from threading import get_ident
from time import perf_counter
from types import TracebackType
from typing import Any, Final, TypeVar, cast

from atom_platform.metrics.caps import Ids
from atom_platform.metrics.definitions import (
    ACTIVE_AGENTS,
    AGENT_EXECUTION_DURATION,
    AGENT_EXECUTIONS,
    DB_QUERY_DURATION,
    SKILL_EXECUTION_DURATION,
    SKILL_EXECUTIONS,
    Definition,
)
from atom_platform.metrics.recording import Family, HistogramFamily, not_recorded
from atom_platform.metrics.storage.storage import STORAGE
from atom_platform.skills.failure import SkillFailed

__all__ = ["Tracker", "observe_query", "track_agent", "track_query", "track_skill"]

F = TypeVar("F", bound=Callable[..., Any])

_OPERATIONS: Final = frozenset(DB_QUERY_DURATION.values["operation"])
_queries: Final = HistogramFamily(DB_QUERY_DURATION)


class Tracker:
    """
    Times a block or each call of a function; nests, and may be shared between threads.

    The block's own exception always passes through. A process forked inside the block leaves the
    counting of it to its parent.
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
        Return *function*, tracked; a coroutine function stays one.

        Raises:
            TypeError: It is a generator function, whose work happens after its call.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError("a generator function cannot be tracked: track what consumes it")
        # One tracker per call: the stack of a shared one is kept by thread, and coroutines of one
        # thread do not end in the order in which they began.
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
    """The families of agents, or of skills."""

    def __init__(
        self,
        label: str,
        *,
        count: Definition,
        duration: Definition,
        active: Definition | None = None,
    ) -> None:
        self._count, self._duration = Family(count), HistogramFamily(duration)
        self._active = Family(active) if active else None
        self._ids = Ids(label, count, duration)

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
                    self._active.add((), -1.0)  # first: it comes down whatever the rest does
                label = self._ids.admit(value)
                new = not self._count.has((label, "success"))
                for status in ("success", "failure", "error") if new else ():
                    self._count.add((label, status), 0.0)  # so that a share of failures is 0
                self._count.add((label, outcome))
                self._duration.observe(seconds, (label,))
        except Exception as error:
            not_recorded(self._count.definition, error)


_agents: Final = _Executions(
    "agent_id",
    count=AGENT_EXECUTIONS,
    duration=AGENT_EXECUTION_DURATION,
    active=ACTIVE_AGENTS,
)
_skills: Final = _Executions("skill_id", count=SKILL_EXECUTIONS, duration=SKILL_EXECUTION_DURATION)


def track_agent(agent_id: str) -> Tracker:
    """
    Count and time one execution of an agent, and count it among the active ones meanwhile.

    A normal end is a `success`, `SkillFailed` a `failure`, any other exception an `error`.
    """
    return _agents.tracker(agent_id)


def track_skill(skill_id: str) -> Tracker:
    """Count and time one execution of a skill, by the outcomes of `track_agent`."""
    return _skills.tracker(skill_id)


def track_query(operation: str) -> Tracker:
    """Time one database statement: select, insert, update, delete; anything else is `other`."""
    return Tracker(lambda: None, lambda seconds, outcome: observe_query(operation, seconds))


def observe_query(operation: str, seconds: float) -> None:
    """Record a statement that was timed elsewhere. Never raises."""
    try:
        name = operation.lower()
        _queries.observe(seconds, (name if name in _OPERATIONS else "other",))
    except Exception as error:
        not_recorded(DB_QUERY_DURATION, error)
