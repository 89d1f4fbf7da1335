"""
The `process_*` metrics and `gunicorn_backlog`: CPU, memory and files of arbiter and workers.

They are read from /proc at each scrape. Without an arbiter, the service is this one process.

/proc forgets an arbiter that exits after SIGUSR2, and the CPU time of all workers that it reaped.
So the exposed CPU time is kept in a file of the metrics directory, the ledger, and never decreases.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import socket
import time
from collections.abc import Callable, Iterable, Iterator
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
from atom_platform.metrics.samples import FamilySamples, Sample
from atom_platform.metrics.storage import directory as directories
from atom_platform.metrics.storage.directory_lock import read_owner

__all__ = ["CpuLedger", "CpuReading", "ProcessMetrics", "watch_listeners"]

_NAME: Final = ".cpu"
_BYTES: Final = 256
#: Seconds to wait for the lock of the ledger. A stopped process must not block all scrapes.
_LOCK_TIMEOUT_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class CpuReading:
    """
    The CPU time of a service in /proc.

    Attributes:
        ticks: The CPU time in clock ticks.
        arbiters: The pids of the arbiters that are included.
    """

    ticks: int
    arbiters: tuple[int, ...]


class CpuLedger:
    """
    A counter of CPU time, shared by all workers, for readings that may decrease.

    Args:
        directory: The metrics directory.
        service: The random name of this run of the service. Entries of other runs are ignored.
    """

    def __init__(self, directory: Path, service: str) -> None:
        self._path = directory / _NAME
        self._service = service

    def advance(self, read: Callable[[], CpuReading]) -> int:
        """
        Return the CPU ticks to expose, which are never fewer than before.

        Args:
            read: Takes a reading. It is called under the lock of the ledger.

        Raises:
            OSError: The ledger cannot be read or written, or its lock is held for too long.
        """
        with self._locked() as fd:
            exposed, gone, arbiters = self._entry(os.pread(fd, _BYTES, 0))
            reading = read()
            ticks = gone + reading.ticks
            if ticks < exposed and reading.arbiters != arbiters:
                gone += exposed - ticks  # an arbiter exited, and its CPU time left /proc
            ticks = max(ticks, exposed)
            numbers = " ".join(map(str, (ticks, gone, *reading.arbiters)))
            os.pwrite(fd, f"{self._service} {numbers}\n".encode().ljust(_BYTES), 0)
        return ticks

    def _entry(self, text: bytes) -> tuple[int, int, tuple[int, ...]]:
        """Return exposed ticks, ticks of exited arbiters, and the arbiters of the last reading."""
        with contextlib.suppress(ValueError):
            service, *numbers = text.decode().split()
            exposed, gone, *arbiters = map(int, numbers)
            if service == self._service:
                return exposed, gone, tuple(arbiters)
        return 0, 0, ()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._path, flags, 0o600)
        try:
            until = time.monotonic() + _LOCK_TIMEOUT_SECONDS
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.001)
            yield fd
        finally:
            os.close(fd)


_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
#: Attempts to read the process tree without a worker being reaped meanwhile.
_READINGS_AT_MOST: Final = 20
#: Attempts to read arbiters of which one exits meanwhile, as after SIGUSR2.
_ARBITERS_LEAVE_AT_MOST: Final = 3
#: In `struct tcp_info` of a listener: how many connections wait to be accepted.
_TCPI_UNACKED: Final = slice(24, 28)


@dataclass(frozen=True, slots=True)
class _Stat:
    """The CPU time of one process, and of the children it has reaped, in clock ticks."""

    own: int
    reaped: int
    started: int


#: The listening sockets of the service that this process knows.
_listeners: list[socket.socket] = []


def watch_listeners(listeners: Iterable[socket.socket]) -> None:
    """Set the listening sockets of the service, for `gunicorn_backlog`."""
    _listeners[:] = listeners


class ProcessMetrics:
    """
    The families that are computed at each scrape.

    Args:
        proc: The directory of the process file system.
    """

    def __init__(self, *, proc: Path = Path("/proc")) -> None:
        self._proc = str(proc)
        self._cpu_floor = 0

    def families(self) -> list[FamilySamples]:
        """Return the families. Those that cannot be read are left out."""
        arbiters, started_at = self._service()
        pids, ticks = self._ledger_ticks(arbiters)
        found: list[FamilySamples] = []
        with contextlib.suppress(OSError, ValueError):
            found.append(_family(PROCESS_START_TIME, started_at or self._started_at(pids[0])))
        if ticks is not None or self._cpu_floor:
            # If a process exits while the tree is read, its ticks may be missing until the next
            # reading. A counter must not decrease.
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
        """Return the pids of the arbiters, and the recorded start time of the service if any."""
        prepared = directories.prepared()
        if prepared is None:
            return [os.getpid()], None
        owner = (read_owner(prepared.path) if prepared.path else None) or prepared.owner
        living = [pid for pid in owner.arbiters if os.path.exists(f"{self._proc}/{pid}")]  # noqa: PTH110 — as `_read`
        return living or [os.getpid()], owner.started_at

    def _ledger_ticks(self, arbiters: list[int]) -> tuple[list[int], int | None]:
        """Return the service's pids, and its CPU ticks, never fewer than any worker exposed."""
        pids: list[int] = []
        ticks: int | None = None

        def read() -> CpuReading:
            nonlocal pids, ticks
            for _ in range(_ARBITERS_LEAVE_AT_MOST):
                living = self._service()[0]
                pids, ticks = self._consistent(living)
                if ticks is not None:
                    return CpuReading(ticks, tuple(living))
            raise OSError("/proc cannot be read")

        prepared = directories.prepared()
        if prepared is not None and prepared.path is not None:
            with contextlib.suppress(OSError):
                told = CpuLedger(prepared.path, prepared.owner.service).advance(read)
                return pids, told
        return (pids, ticks) if pids else self._consistent(arbiters)

    def _consistent(self, roots: list[int]) -> tuple[list[int], int | None]:
        """
        Return the service's pids, and the CPU ticks of all of them and of reaped workers.

        When a worker is reaped, its ticks are added to those of its arbiter. So the tree is read
        until no worker was reaped meanwhile: its ticks would count twice or not at all.
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
        # The name of the program may contain spaces and brackets. Numbers follow the last bracket.
        fields = text[text.rindex(b")") + 2 :].split()
        own, reaped = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
        return _Stat(own, reaped, int(fields[19]))

    def _children(self, pid: int) -> list[int]:
        if pid == os.getpid() and directories.prepared() is None:
            return []
        return [int(child) for child in self._read(f"{pid}/task/{pid}/children").split()]

    def _memory_bytes(self, pid: int) -> tuple[int, int]:
        """Return the virtual and the resident size of a process."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            virtual, resident = self._read(f"{pid}/statm").split()[:2]
            return int(virtual) * _PAGE_BYTES, int(resident) * _PAGE_BYTES
        return 0, 0

    def _open_fds(self, pid: int) -> int:
        with contextlib.suppress(OSError):
            path = f"{self._proc}/{pid}/fd"
            # Since Linux 6.2 the size of the directory is the count; listing takes 10 times longer.
            return os.stat(path).st_size or len(os.listdir(path))  # noqa: PTH116, PTH208 — as `_read`
        return 0

    def _read(self, name: str) -> bytes:
        """Return the content of a file in /proc. With pathlib it would take a third of a scrape."""
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
        raise ValueError("no boot time in /proc/stat")


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
