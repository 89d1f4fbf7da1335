"""
The pid file of a service: where another process of the same user finds the arbiter of a port.

Standard library only, and little of it: `probe` runs in containers with a tenth of a CPU.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

__all__ = ["DRAIN_SIGNAL", "RunningService", "find", "levels_path", "remove", "write"]

#: Asks an arbiter to drain. gunicorn does not use it; it ends a process without a handler for it.
DRAIN_SIGNAL: Final = signal.SIGRTMIN


@dataclass(frozen=True, slots=True)
class RunningService:
    """
    A running service, as its pid file has it.

    Attributes:
        pid: The pid of the arbiter.
        started: When that process started, in clock ticks since boot; pids repeat, this does not.
        drain_seconds: How long it goes on serving once it drains.
    """

    pid: int
    started: int
    drain_seconds: float

    @property
    def alive(self) -> bool:
        return started_at(self.pid) == self.started


def write(ports: Iterable[int], *, drain_seconds: float) -> None:
    """
    Write a pid file for each of *ports*, with this process as the arbiter.

    Raises:
        OSError: No directory takes the file; `probe drain` then does not find the service.
    """
    _remove_stale()
    pid = os.getpid()
    text = json.dumps(asdict(RunningService(pid, started_at(pid) or 0, drain_seconds)))
    for port in ports:
        path = _path(port)
        for leftover in (path, levels_path(port)):
            leftover.unlink(missing_ok=True)
        # Other users may write to the directory: O_EXCL follows no link of theirs.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)


def remove(ports: Iterable[int]) -> None:
    """Remove the files of this process, unless a newer arbiter has replaced them."""
    for port in ports:
        service = find(port)
        if service and service.pid == os.getpid():
            with contextlib.suppress(OSError):
                _path(port).unlink()
                levels_path(port).unlink(missing_ok=True)


def find(port: int) -> RunningService | None:
    """Return the living arbiter of *port*, if this user runs one."""
    return _read(_path(port))


def levels_path(port: int) -> Path:
    """Return the file by which the service on *port* is told to change its log levels."""
    return _path(port).with_suffix(".levels")


def _read(path: Path) -> RunningService | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle) as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            arbiter = RunningService(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None
    return arbiter if arbiter.alive else None


def started_at(pid: int) -> int | None:
    """Return when process *pid* started, in clock ticks since boot; None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name, second, may hold spaces and brackets: count from behind its last bracket.
    return int(stat.rpartition(b")")[2].split()[19])


def _remove_stale() -> None:
    """Remove the files of arbiters that were killed."""
    # The levels go with the pid file: they are of no use without the service.
    for suffix in (".levels", ".json"):
        for path in _directory().glob(f"{_prefix()}*{suffix}"):
            with contextlib.suppress(OSError):
                if path.lstat().st_uid == os.geteuid() and _read(path.with_suffix(".json")) is None:
                    path.unlink()


def _path(port: int) -> Path:
    return _directory() / f"{_prefix()}{port}.json"


def _prefix() -> str:
    return f"atom-platform-{os.geteuid()}-"


def _directory() -> Path:
    """Memory before disk: in a container the root file system is often read-only."""
    directories = (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm", "/tmp")  # noqa: S108 — see write
    for directory in directories:
        if directory and os.access(directory, os.W_OK | os.X_OK):
            return Path(directory)
    return Path()
