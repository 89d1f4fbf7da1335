"""
Where another process of the same user finds the arbiter of a port.

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

__all__ = ["DRAIN_SIGNAL", "Arbiter", "announce", "find", "levels_path", "withdraw"]

#: Asks an arbiter to drain. gunicorn has no use for it; whoever does not know it ends by it.
DRAIN_SIGNAL: Final = signal.SIGRTMIN


@dataclass(frozen=True, slots=True)
class Arbiter:
    """
    A running service, as its run file tells it.

    Attributes:
        pid: Of the arbiter.
        started: When that process started, in clock ticks since boot; pids repeat, this does not.
        drain_seconds: How long it goes on serving once it drains.
    """

    pid: int
    started: int
    drain_seconds: float

    @property
    def alive(self) -> bool:
        return started_at(self.pid) == self.started


def announce(ports: Iterable[int], *, drain_seconds: float) -> None:
    """
    Write this process down as the arbiter of *ports*.

    Raises:
        OSError: No directory takes the file; only `probe drain` is the poorer for it.
    """
    _remove_stale()
    pid = os.getpid()
    text = json.dumps(asdict(Arbiter(pid, started_at(pid) or 0, drain_seconds)))
    for port in ports:
        path = _path(port)
        for leftover in (path, levels_path(port)):
            leftover.unlink(missing_ok=True)
        # The directory may be everybody's: O_EXCL follows no link that a stranger put there.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)


def withdraw(ports: Iterable[int]) -> None:
    """Remove what this process announced, unless a successor has announced itself since."""
    for port in ports:
        arbiter = find(port)
        if arbiter and arbiter.pid == os.getpid():
            with contextlib.suppress(OSError):
                _path(port).unlink()
                levels_path(port).unlink(missing_ok=True)


def find(port: int) -> Arbiter | None:
    """Return the living arbiter of *port*, if this user runs one."""
    return _read(_path(port))


def levels_path(port: int) -> Path:
    """Return where the service on *port* is told to change its log levels."""
    return _path(port).with_suffix(".levels")


def _read(path: Path) -> Arbiter | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle) as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            arbiter = Arbiter(**json.load(file))
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
    """Clear up behind arbiters that were killed."""
    # The levels with the run file: what tells a service what to log goes when the service is gone.
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
    directories = (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm", "/tmp")  # noqa: S108 — see announce
    for directory in directories:
        if directory and os.access(directory, os.W_OK | os.X_OK):
            return Path(directory)
    return Path()
