"""The workers of the service as the kernel sees them: whichever worker is asked, all of them."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atom_platform.metrics.storage import directory as directories
from atom_platform.metrics.storage.directory_lock import read_owner

__all__ = ["Worker", "living_workers", "service_started_at"]

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Worker:
    """
    One worker process.

    Attributes:
        memory_bytes: Resident; pages that workers share count in each of them.
    """

    pid: int
    age_seconds: float
    memory_bytes: int


def living_workers(*, proc: Path = Path("/proc")) -> list[Worker]:
    """
    Return the workers, oldest first; without an arbiter, this process.

    Empty where the kernel does not tell.
    """
    found = []
    with contextlib.suppress(OSError, ValueError):
        uptime = float((proc / "uptime").read_text().split()[0])
        for pid in _pids(proc):
            # A worker may end between two readings.
            with contextlib.suppress(OSError, ValueError, IndexError):
                found.append(_worker(proc, pid, uptime))
    return sorted(found, key=lambda each: (-each.age_seconds, each.pid))


def service_started_at() -> float | None:
    """Return when this life of the service began, in seconds of the Unix epoch, if it is known."""
    prepared = directories.prepared()
    return None if prepared is None else prepared.owner.started_at


def _pids(proc: Path) -> list[int]:
    prepared = directories.prepared()
    if prepared is None:
        return [os.getpid()]
    # Written anew around a SIGUSR2, when there are two arbiters.
    owner = (read_owner(prepared.path) if prepared.path else None) or prepared.owner
    arbiters = [pid for pid in owner.arbiters if (proc / str(pid)).exists()]
    children = {
        int(child)
        for pid in arbiters
        for child in (proc / str(pid) / "task" / str(pid) / "children").read_text().split()
    }
    return sorted(children - set(arbiters)) or [os.getpid()]


def _worker(proc: Path, pid: int, uptime: float) -> Worker:
    text = (proc / str(pid) / "stat").read_text(errors="replace")
    # The name may hold anything, spaces and brackets included; numbers follow its last bracket.
    fields = text[text.rindex(")") + 2 :].split()
    if fields[0] == "Z":
        raise ValueError("it has ended")
    pages = int((proc / str(pid) / "statm").read_text().split()[1])
    age = round(max(0.0, uptime - int(fields[19]) / _TICKS), 1)
    return Worker(pid, age, pages * _PAGE_BYTES)
