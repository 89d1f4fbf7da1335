"""Lists all worker processes of the service from `/proc`, from inside any of them."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atom_platform.metrics.storage import directory as directories
from atom_platform.metrics.storage.directory_lock import read_owner

__all__ = ["WorkerProcess", "list_workers", "service_started_at"]

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """
    One worker process.

    Attributes:
        memory_bytes: Resident set size; shared pages count in each worker.
    """

    pid: int
    age_seconds: float
    memory_bytes: int


def list_workers(*, proc: Path = Path("/proc")) -> list[WorkerProcess]:
    """
    Return the workers, oldest first; without an arbiter, this process.

    The list is empty where `/proc` cannot be read.
    """
    found = []
    with contextlib.suppress(OSError, ValueError):
        uptime = float((proc / "uptime").read_text().split()[0])
        for pid in _pids(proc):
            # A worker may end between two reads.
            with contextlib.suppress(OSError, ValueError, IndexError):
                found.append(_worker(proc, pid, uptime))
    return sorted(found, key=lambda each: (-each.age_seconds, each.pid))


def service_started_at() -> float | None:
    """Return the start time of the service in seconds since the epoch; None if it is unknown."""
    prepared = directories.prepared()
    return None if prepared is None else prepared.owner.started_at


def _pids(proc: Path) -> list[int]:
    prepared = directories.prepared()
    if prepared is None:
        return [os.getpid()]
    # Read again each time: during a SIGUSR2 there are two arbiters.
    owner = (read_owner(prepared.path) if prepared.path else None) or prepared.owner
    arbiters = [pid for pid in owner.arbiters if (proc / str(pid)).exists()]
    children = {
        int(child)
        for pid in arbiters
        for child in (proc / str(pid) / "task" / str(pid) / "children").read_text().split()
    }
    return sorted(children - set(arbiters)) or [os.getpid()]


def _worker(proc: Path, pid: int, uptime: float) -> WorkerProcess:
    text = (proc / str(pid) / "stat").read_text(errors="replace")
    # The process name may contain spaces and brackets; the numbers follow the last bracket.
    fields = text[text.rindex(")") + 2 :].split()
    if fields[0] == "Z":
        raise ValueError("it has ended")
    pages = int((proc / str(pid) / "statm").read_text().split()[1])
    age = round(max(0.0, uptime - int(fields[19]) / _TICKS), 1)
    return WorkerProcess(pid, age, pages * _PAGE_BYTES)
