"""
What the kernel knows of the service: CPU, memory and files of the arbiter and its workers together.

Read from /proc at the scrape. Without an arbiter the service is this one process.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atom_platform.metrics.catalog import (
    GUNICORN_BACKLOG,
    PROCESS_CPU,
    PROCESS_MAX_FDS,
    PROCESS_OPEN_FDS,
    PROCESS_RESIDENT_MEMORY,
    PROCESS_START_TIME,
    PROCESS_VIRTUAL_MEMORY,
    Definition,
    family_name,
)
from atom_platform.metrics.cpu_ledger import CpuLedger, Reading
from atom_platform.metrics.multiprocess import directory as directories
from atom_platform.metrics.multiprocess.families import FamilySamples, Sample
from atom_platform.metrics.multiprocess.ownership import read_owner

__all__ = ["Processes", "watch_listeners"]

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
#: A worker may be reaped between two readings; under a storm of deaths the last reading must do.
_READINGS_AT_MOST: Final = 20
#: After SIGUSR2 the former one leaves, perhaps just as it is about to be read.
_ARBITERS_LEAVE_AT_MOST: Final = 3
#: Where the kernel says how many connections wait to be accepted (struct tcp_info, of a listener).
_TCPI_UNACKED: Final = slice(24, 28)


@dataclass(frozen=True, slots=True)
class _Stat:
    """The CPU time of one process, and of the children it has reaped, in clock ticks."""

    own: int
    reaped: int
    started: int


#: The sockets that the service accepts connections on, as far as this process knows.
_listeners: list[socket.socket] = []


def watch_listeners(listeners: Iterable[socket.socket]) -> None:
    """Say which sockets the service accepts connections on, for `gunicorn_backlog`."""
    _listeners[:] = listeners


class Processes:
    """
    The computed families of the metric table.

    Args:
        proc: Where the kernel's process table is.
    """

    def __init__(self, *, proc: Path = Path("/proc")) -> None:
        self._proc = str(proc)
        self._cpu_floor = 0

    def families(self) -> list[FamilySamples]:
        """Return the families; what cannot be read is left out."""
        arbiters, started_at = self._service()
        pids, ticks = self._told(arbiters)
        found: list[FamilySamples] = []
        with contextlib.suppress(OSError, ValueError):
            found.append(_family(PROCESS_START_TIME, started_at or self._started_at(pids[0])))
        if ticks is not None or self._cpu_floor:
            # Ticks of a tree that was read across a death may lack that process's, or be unread;
            # the next reading has them, and a counter must not show the difference.
            self._cpu_floor = max(self._cpu_floor, ticks or 0)
            found.append(_family(PROCESS_CPU, self._cpu_floor / _TICKS))
        sizes = list(map(self._memory_bytes, pids))
        found.append(_family(PROCESS_VIRTUAL_MEMORY, sum(virtual for virtual, _ in sizes)))
        found.append(_family(PROCESS_RESIDENT_MEMORY, sum(resident for _, resident in sizes)))
        found.append(_family(PROCESS_OPEN_FDS, sum(map(self._open_fds, pids))))
        found.append(_family(PROCESS_MAX_FDS, sum(map(_max_fds, pids))))
        backlogs = [size for size in map(_backlog, _listeners) if size is not None]
        if backlogs:
            found.append(_family(GUNICORN_BACKLOG, sum(backlogs)))
        return found

    def _service(self) -> tuple[list[int], float | None]:
        """Return the pids at the root of the service, and when it started if that was noted."""
        prepared = directories.prepared()
        if prepared is None:
            return [os.getpid()], None
        owner = (read_owner(prepared.path) if prepared.path else None) or prepared.owner
        living = [pid for pid in owner.arbiters if os.path.exists(f"{self._proc}/{pid}")]  # noqa: PTH110 — as `_read`
        return living or [os.getpid()], owner.started_at

    def _told(self, arbiters: list[int]) -> tuple[list[int], int | None]:
        """Return the service's pids, and its CPU ticks as no worker has told more of them."""
        pids: list[int] = []
        ticks: int | None = None

        def read() -> Reading:
            nonlocal pids, ticks
            for _ in range(_ARBITERS_LEAVE_AT_MOST):
                living = self._service()[0]
                pids, ticks = self._consistent(living)
                if ticks is not None:
                    return Reading(ticks, tuple(living))
            raise OSError("the process table cannot be read")

        prepared = directories.prepared()
        if prepared is not None and prepared.path is not None:
            with contextlib.suppress(OSError):
                told = CpuLedger(prepared.path, prepared.owner.service).advance(read)
                return pids, told
        return (pids, ticks) if pids else self._consistent(arbiters)

    def _consistent(self, roots: list[int]) -> tuple[list[int], int | None]:
        """
        Return the service's pids, and the CPU ticks of all of them, dead workers' included.

        A worker's ticks move to its arbiter's when it is reaped. Read again until none was in
        between, or they would be counted twice or not at all.
        """
        pids, ticks = roots, None
        for _ in range(_READINGS_AT_MOST):
            try:
                before = [self._stat(pid) for pid in roots]
                children = {child for pid in roots for child in self._children(pid)} - set(roots)
                pids = [*roots, *sorted(children)]
                stats = before + [self._stat(pid) for pid in pids[len(roots) :]]
                ticks = sum(stat.own + stat.reaped for stat in stats)
                if [stat.reaped for stat in map(self._stat, roots)] == [s.reaped for s in before]:
                    break
            except (OSError, ValueError, IndexError):
                continue
        return pids, ticks

    def _stat(self, pid: int) -> _Stat:
        text = self._read(f"{pid}/stat")
        # The name may hold anything, spaces and brackets included; numbers follow its last bracket.
        fields = text[text.rindex(b")") + 2 :].split()
        own, reaped = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
        return _Stat(own, reaped, int(fields[19]))

    def _children(self, pid: int) -> list[int]:
        if pid == os.getpid() and directories.prepared() is None:
            return []
        return [int(child) for child in self._read(f"{pid}/task/{pid}/children").split()]

    def _memory_bytes(self, pid: int) -> tuple[int, int]:
        """Return its virtual and its resident size."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            virtual, resident = self._read(f"{pid}/statm").split()[:2]
            return int(virtual) * _PAGE_BYTES, int(resident) * _PAGE_BYTES
        return 0, 0

    def _open_fds(self, pid: int) -> int:
        with contextlib.suppress(OSError):
            path = f"{self._proc}/{pid}/fd"
            # From Linux 6.2 on its size is their number; to list them takes ten times as long.
            return os.stat(path).st_size or len(os.listdir(path))  # noqa: PTH116, PTH208 — as `_read`
        return 0

    def _read(self, name: str) -> bytes:
        """Return a file of the process table; with `pathlib` it would be a third of a scrape."""
        pieces = []
        fd = os.open(f"{self._proc}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            while piece := os.read(fd, 65_536):
                pieces.append(piece)
        finally:
            os.close(fd)
        return b"".join(pieces)

    def _started_at(self, pid: int) -> float:
        for line in self._read("stat").splitlines():
            if line.startswith(b"btime "):
                return int(line.split()[1]) + self._stat(pid).started / _TICKS
        raise ValueError("the kernel does not say when it booted")


def _max_fds(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        soft = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
        return 0 if soft == resource.RLIM_INFINITY else soft
    return 0


def _family(definition: Definition, value: float) -> FamilySamples:
    samples = [Sample(definition.name, (), float(value))]
    return FamilySamples(family_name(definition), definition.kind, definition.help, samples)


def _backlog(listener: socket.socket) -> int | None:
    try:
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    except OSError:
        return None  # not a TCP socket
    return int.from_bytes(info[_TCPI_UNACKED], "little")
