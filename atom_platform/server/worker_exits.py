"""
Why workers end.

gunicorn tells its `child_exit` hook which worker ended, but not how. The status is recorded where
the arbiter reaps its children. Only the worker knows that it was recycled, and says so on the
scoreboard. A worker that cannot recover asks for its own replacement with `request_restart`.
"""

from __future__ import annotations

import logging
import math
import os
import signal
from collections.abc import Callable
from typing import Any, Final

from atom_platform.cgroups import oom_kills
from atom_platform.server.scoreboard import SCOREBOARD

__all__ = [
    "ExitRecorder",
    "exit_reason",
    "mark_supervised",
    "record_exit_code",
    "request_restart",
]

#: Exit codes on the scoreboard; 0 is that of a worker that set none.
ENDED: Final = 1
RECYCLED: Final = 2

STOP_SIGNALS: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}

log = logging.getLogger("atom_platform.server")


def record_exit_code(worker: Any) -> None:
    """Tell the arbiter why this worker ends; called in the worker as its last act."""
    index = getattr(worker, "atom_index", None)
    if index is not None:
        recycled = getattr(worker, "nr", 0) >= getattr(worker, "max_requests", math.inf)
        SCOREBOARD.set_exit_code(index, RECYCLED if recycled else ENDED)


def exit_reason(status: int | None, *, timed_out: bool, exit_code: int, oom_killed: bool) -> str:
    """
    Return the reason of an exit, as `gunicorn_worker_exits_total` has it.

    Args:
        status: As `os.waitpid` returns it; None when it is not known.
        timed_out: The arbiter had ended the worker because it was silent.
        exit_code: What the worker left on the scoreboard.
        oom_killed: The kernel has killed a process for want of memory since the last exit.
    """
    if status is None:
        return "timeout" if timed_out else "unknown"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGKILL and oom_killed:
            return "out_of_memory"
        if timed_out:
            return "timeout"
        if number == signal.SIGKILL:
            return "killed"
        return "terminated" if number in STOP_SIGNALS else "crashed"
    if timed_out:
        return "timeout"
    if os.WEXITSTATUS(status):
        return "crashed"
    return "recycled" if exit_code == RECYCLED else "terminated"


class ExitRecorder:
    """
    Records how each worker of one arbiter ended until `child_exit` asks.

    A process of the same control group that is killed for want of memory, but is no worker, lends
    its reason to the next worker that is killed.
    """

    def __init__(self, arbiter: Any) -> None:
        self._arbiter = arbiter
        self._oom_kills = oom_kills()
        self._statuses: dict[int, int] = {}

    def install(self) -> None:
        """
        Replace the `os` that gunicorn's arbiter module calls.

        Not `waitid(WNOWAIT)` from a SIGCHLD handler: a worker that dies between that look and the
        reaping would not be seen, and in a kill storm some do.
        """
        from atom_platform.server._compat_gunicorn import arbiter_module

        arbiter_module.os = _RecordingOs(self._record)

    def reason(self, worker: Any) -> str:
        """Return why *worker*, just reaped, ended."""
        before, self._oom_kills = self._oom_kills, oom_kills()
        return exit_reason(
            self._statuses.pop(worker.pid, None),
            timed_out=getattr(worker, "aborted", False),
            exit_code=SCOREBOARD.exit_code(getattr(worker, "atom_index", None)),
            oom_killed=self._oom_kills > before,
        )

    def _record(self, pid: int, status: int) -> None:
        if pid in self._arbiter.WORKERS:
            self._statuses[pid] = status


class _RecordingOs:
    """The `os` module, with a `waitpid` that reports what it returns."""

    def __init__(self, record: Callable[[int, int], None]) -> None:
        self._record = record

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def waitpid(self, pid: int, options: int) -> tuple[int, int]:
        reaped, status = os.waitpid(pid, options)
        self._record(reaped, status)
        return reaped, status


_supervised_pid: int | None = None


def mark_supervised() -> None:
    """Note that an arbiter replaces this process; until then `request_restart` does nothing."""
    global _supervised_pid
    _supervised_pid = os.getpid()


def request_restart(reason: str) -> None:
    """
    Stop this worker gracefully, so that the arbiter replaces it.

    Used when only a new process can help, such as for a broken connection pool. A process without
    an arbiter goes on as it is.

    Args:
        reason: Why, for the log.
    """
    supervised = _supervised_pid == os.getpid()
    event = "worker_restart_requested" if supervised else "worker_restart_unavailable"
    log.error(event, extra={"reason": reason})
    if supervised:
        os.kill(os.getpid(), signal.SIGTERM)
