"""
Which service owns a metrics directory, and whether that service is still running.

The proof is a `flock` on the file `.owner`. The arbiter takes it, its workers share it by
inheritance, and the kernel releases it with the last of them. The text in the file is information.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = [
    "PREFIX",
    "SHARED_MEMORY",
    "Owner",
    "is_dead",
    "lock_exclusively",
    "lock_shared",
    "private_directories",
    "read_owner",
    "remove_dead",
    "spill_directory",
    "write_owner",
]

#: Prefix of the names of private directories.
PREFIX: Final = "atom-metrics-"
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 — only 0700 directories of our own are made in it

_OWNER: Final = ".owner"
_MOST_OWNER_BYTES: Final = 65_536
_SPILL: Final = f"{PREFIX}spill-"
#: Age, in seconds, from which a private directory without `.owner` belongs to a dead process.
_HALF_MADE_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Owner:
    """
    The content of `.owner`.

    Attributes:
        service: A random name, new at each start of the service.
        started_at: When the service started, in seconds since the Unix epoch.
        arbiters: The arbiters' process ids: two of them during a SIGUSR2. Dead ones may be listed.
    """

    service: str
    started_at: float
    arbiters: tuple[int, ...]


def read_owner(path: Path) -> Owner | None:
    """Return the owner of the directory *path*, or None if its `.owner` cannot be read."""
    try:
        # os.open and not open(): each scrape reads it several times.
        fd = os.open(f"{path}/{_OWNER}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(fd, _MOST_OWNER_BYTES)
        finally:
            os.close(fd)
        service, started_at, *arbiters = text.decode().split()
        return Owner(service, float(started_at), tuple(map(int, arbiters)))
    except (OSError, ValueError):
        return None


def write_owner(path: Path, owner: Owner) -> None:
    """
    Write *owner* to the `.owner` of the directory *path*.

    Raises:
        OSError: The file cannot be written.
    """
    text = f"{owner.service} {owner.started_at!r} {' '.join(map(str, owner.arbiters))}\n"
    fd = _open(path)
    try:
        # Written in place, because the lock belongs to the inode. Padded, so that a reader never
        # sees the end of an earlier, longer text.
        os.pwrite(fd, text.encode().ljust(256), 0)
    finally:
        os.close(fd)


def lock_exclusively(path: Path) -> int | None:
    """
    Lock *path* for a new service. Return the lock's descriptor, or None if it is already locked.

    Raises:
        OSError: The directory is not writable.
    """
    lock = _open(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return lock
    except BlockingIOError:
        os.close(lock)
        return None


def lock_shared(path: Path) -> int:
    """
    Share the lock of *path* with the other processes of its service. Return its descriptor.

    Raises:
        OSError: The file cannot be opened, or another service holds an exclusive lock.
    """
    lock = _open(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def private_directories(parent: Path) -> list[Path]:
    """Return the private directories in *parent* that services of this user created."""
    try:
        return [
            path
            for path in parent.iterdir()
            if path.name.startswith((PREFIX, f".{PREFIX}")) and _is_ours(path)
        ]
    except OSError:
        return []


def remove_dead(parent: Path) -> None:
    """Remove the private directories in *parent* whose services no longer run."""
    for path in private_directories(parent):
        with contextlib.suppress(OSError):
            if is_dead(path):
                shutil.rmtree(path, ignore_errors=True)


def is_dead(path: Path) -> bool:
    """
    Return whether no process of the service that owns *path* is running.

    Raises:
        OSError: Its lock file or status cannot be read.
    """
    main = path
    if path.name.startswith(_SPILL):
        main = Path((path / ".main").read_text())
        owner = read_owner(main)
        if owner is None or path.name != _SPILL + owner.service:
            return True
    if not (main / _OWNER).exists():
        return time.time() - path.stat().st_mtime > _HALF_MADE_SECONDS
    with _try_lock(main) as unlocked:
        return unlocked


def spill_directory(path: Path, *, create: bool) -> Path | None:
    """
    Return the service's spill directory: on another file system, used when that of *path* is full.

    Every process of the service finds the same one.

    Args:
        create: Whether to create it if it does not exist.

    Returns None if it does not exist or cannot be created.
    """
    owner = read_owner(path)
    if owner is None:
        return None
    for parent in (Path(tempfile.gettempdir()), SHARED_MEMORY):
        name = f"{parent}/{_SPILL}{owner.service}"
        if not create and not _is_ours(name):
            continue  # the usual case of a scrape
        spill = Path(name)
        with contextlib.suppress(OSError):
            if _is_ours(spill):
                return spill
            if create and parent.stat().st_dev != path.stat().st_dev:
                spill.mkdir(mode=0o700)
                (spill / ".main").write_text(str(path))
                return spill
    return None


def _open(path: Path) -> int:
    return os.open(path / _OWNER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _is_ours(path: Path | str) -> bool:
    """Return whether *path* is a directory, not a link, that belongs to this user."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


@contextlib.contextmanager
def _try_lock(path: Path) -> Iterator[bool]:
    """Yield whether the exclusive lock of *path* is free, while holding it if it is."""
    lock = lock_exclusively(path)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)
