"""
Heartbeat check: a task has run recently, in this worker or in any other process.

The heartbeat is the modification time of a file, because the task may run in another worker or from
cron.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, TypeVar

from atom_platform.health.check import CheckResult

__all__ = ["Heartbeat"]

P = ParamSpec("P")
R = TypeVar("R")


class Heartbeat:
    """
    The heartbeat of a task, and the check of its age.

    `with heartbeat:` around the task, or `@heartbeat.task` on it, records a beat when it ends
    without an exception. Otherwise call `beat`, or `touch` the file from a script.

        heartbeat = Heartbeat("/var/lib/shop/nightly", max_age_seconds=26 * 3600)
        monitoring.check("nightly", heartbeat, critical=False)

    A task that has never run is unhealthy: `touch` the file in the deployment, or register the
    check with `critical=False`.

    Args:
        path: A file in an existing directory; the first beat creates it.
        max_age_seconds: How long after a beat the task is healthy, inclusive.
        clock: The time of the file system, in seconds of the Unix epoch. Tests pass their own.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_age_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not max_age_seconds > 0:
            raise ValueError("max_age_seconds must be positive")
        self._path = Path(path)
        self._max_age_seconds = max_age_seconds
        self._clock = clock

    def beat(self) -> None:
        """
        Record that the task has run.

        Raises:
            OSError: The file cannot be written.
        """
        self._path.touch()
        now = self._clock()
        os.utime(self._path, (now, now))

    def __call__(self) -> CheckResult:
        """Return whether the task has run recently; `age_seconds` is null before its first run."""
        try:
            age = max(0.0, self._clock() - self._path.stat().st_mtime)
        except FileNotFoundError:
            return CheckResult(
                healthy=False,
                message="Task has not run yet",
                details={"age_seconds": None},
                code="never_ran",
            )
        healthy = age <= self._max_age_seconds
        return CheckResult(
            healthy=healthy,
            message="Task ran lately" if healthy else "Task has not run for too long",
            details={"age_seconds": round(age, 1)},
            code="ok" if healthy else "overdue",
        )

    def task(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate the task: each call that returns records a beat."""

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return function(*args, **kwargs)

        return run

    def __enter__(self) -> Heartbeat:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.beat()
