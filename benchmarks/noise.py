"""
How much other processes use the machine: figures under foreign load say little.

The share of the CPUs that processes other than ours used is known from /proc; rounds in which it
was high are marked, and repeated if there is time.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

__all__ = ["Noise", "Quiet"]

_TICK_SECONDS: Final = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class _Clock:
    """Seconds of CPU time at one moment: of the whole machine, of its idle loop, of ours."""

    total: float
    idle: float
    ours: float


class Noise:
    """
    The share of the machine that other processes used between `begin` and `share`.

    Args:
        roots: Processes that are ours although they are not our descendants, such as a database.
    """

    def __init__(self, roots: tuple[int, ...] = ()) -> None:
        self._roots = (os.getpid(), *roots)
        self.begin()

    def begin(self) -> None:
        """Start measuring."""
        self._from = self._now()

    def share(self) -> float:
        """Return the share of all CPUs' time, 0 to 1; stolen time of a virtual machine counts."""
        now, then = self._now(), self._from
        total = now.total - then.total
        if total <= 0:
            return 0.0
        busy = total - (now.idle - then.idle)
        return max(0.0, busy - (now.ours - then.ours)) / total

    def _now(self) -> _Clock:
        fields = [
            int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        ]
        idle = fields[3] + fields[4]  # waiting for a disk is idle too
        total = sum(fields[:8])
        return _Clock(total * _TICK_SECONDS, idle * _TICK_SECONDS, self._ours())

    def _ours(self) -> float:
        seconds = 0.0
        for root in self._roots:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(root)
                for each in [process, *process.children(recursive=True)]:
                    with contextlib.suppress(psutil.Error):
                        seconds += sum(each.cpu_times()[:4])
        return seconds


@dataclass(slots=True)
class Quiet:
    """
    Waits for quiet moments, within a budget.

    Attributes:
        limit: The share of the machine that others may use in a clean reading.
        budget_seconds: What is left to spend on waiting, over the whole run.
        each_seconds: The longest one wait takes.
        look_seconds: How long it looks before it calls the machine quiet.
    """

    limit: float = 0.10
    budget_seconds: float = 300.0
    each_seconds: float = 20.0
    look_seconds: float = 0.25
    waited_seconds: float = field(default=0.0, init=False)

    def wait(self) -> None:
        """Return when the machine is idle, or when the limit or the budget is used up."""
        deadline = time.monotonic() + min(self.each_seconds, self.budget_seconds)
        started = time.monotonic()
        while time.monotonic() < deadline:
            noise = Noise()
            time.sleep(self.look_seconds)
            if noise.share() < self.limit:
                break
        spent = time.monotonic() - started
        self.waited_seconds += spent
        self.spend(spent - self.look_seconds)

    def spend(self, seconds: float) -> None:
        """Take *seconds* from the budget, which waiting and repeating share."""
        self.budget_seconds -= max(0.0, seconds)
