"""
Why workers end.

gunicorn tells its `child_exit` hook which worker ended, but not how. The status is read where the
arbiter reaps its children; that it planned to go only the worker knows, and leaves on the board.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, Final

from atom_platform.cgroups import oom_kills
from atom_platform.server.board import BOARD

__all__ = ["ExitWatch", "exit_reason", "leave_word"]

#: What a worker may leave on the board; 0 is the silence of one that did not get to it.
ENDED: Final = 1
RECYCLED: Final = 2

ASKED_TO_GO: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}


def leave_word(worker: Any) -> None:
    """Let the arbiter know why this worker ends; called in the worker as its last act."""
    seat = getattr(worker, "atom_seat", None)
    if seat is not None:
        BOARD.say_farewell(seat, RECYCLED if worker.nr >= worker.max_requests else ENDED)


def exit_reason(status: int, *, timed_out: bool, farewell: int, oom_killed: bool) -> str:
    """
    Name the reason of an exit, as `gunicorn_worker_exits_total` knows it.

    Args:
        status: As `os.waitpid` returns it.
        timed_out: The arbiter had given the worker up for silent.
        farewell: The word that the worker left on the board.
        oom_killed: The kernel has killed for want of memory since the last exit.
    """
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGKILL and oom_killed:
            return "out_of_memory"
        if timed_out:
            return "timeout"
        if number == signal.SIGKILL:
            return "killed"
        return "terminated" if number in ASKED_TO_GO else "crashed"
    if timed_out:
        return "timeout"
    if os.WEXITSTATUS(status):
        return "crashed"
    return "recycled" if farewell == RECYCLED else "terminated"


class ExitWatch:
    """
    Remembers how each worker of one arbiter ended until `child_exit` asks.

    A process of the same control group that was killed for want of memory since the last exit, but
    was no worker, lends its reason to the next worker that somebody kills.
    """

    def __init__(self, arbiter: Any) -> None:
        self._arbiter = arbiter
        self._oom_kills = oom_kills()
        self._statuses: dict[int, int] = {}

    def install(self) -> None:
        """
        Stand in for the `os` that gunicorn's arbiter module calls.

        Why not peek with `waitid(WNOWAIT)` from a SIGCHLD handler: a worker that dies between the
        look and the reaping would go unseen, and in a kill storm some do.
        """
        from gunicorn import arbiter as arbiter_module

        arbiter_module.os = _RecordingOs(self._record)

    def reason(self, worker: Any) -> str:
        """Return why *worker*, just reaped, ended."""
        before, self._oom_kills = self._oom_kills, oom_kills()
        return exit_reason(
            self._statuses.pop(worker.pid, 0),
            timed_out=worker.aborted,
            farewell=BOARD.farewell(getattr(worker, "atom_seat", None)),
            oom_killed=self._oom_kills > before,
        )

    def _record(self, pid: int, status: int) -> None:
        if pid in self._arbiter.WORKERS:
            self._statuses[pid] = status


class _RecordingOs:
    """The `os` module, with a `waitpid` that tells what it saw."""

    def __init__(self, record: Callable[[int, int], None]) -> None:
        self._record = record

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def waitpid(self, pid: int, options: int) -> tuple[int, int]:
        reaped, status = os.waitpid(pid, options)
        self._record(reaped, status)
        return reaped, status
