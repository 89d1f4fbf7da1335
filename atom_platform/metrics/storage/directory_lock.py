"""
Whose a metrics directory is, and whether that service still lives.

A `flock` on `.owner` is the proof: the arbiter holds it, its workers share it by inheritance, and
the kernel drops it with the last of them, whatever ended them. The text in the file only names.
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

#: Private directories of every service begin like this.
PREFIX: Final = "atom-metrics-"
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 — only 0700 directories of our own are made in it

_OWNER: Final = ".owner"
_MOST_OWNER_BYTES: Final = 65_536
_SPILL: Final = f"{PREFIX}spill-"
#: A private directory without a lock file is being made, or its maker died making it.
_HALF_MADE_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Owner:
    """
    What `.owner` says.

    Attributes:
        service: A random name for this life of the service.
        started_at: When that life began, in seconds since the Unix generation.
        arbiters: Their pids; more than one around a SIGUSR2, and dead ones may linger.
    """

    service: str
    started_at: float
    arbiters: tuple[int, ...]


def read_owner(path: Path) -> Owner | None:
    """Return what the `.owner` of *path* says, or None when there is none that can be read."""
    try:
        # Not by `open`: each scrape asks several times.
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
    Write the names down.

    Raises:
        OSError: It cannot be written.
    """
    text = f"{owner.service} {owner.started_at!r} {' '.join(map(str, owner.arbiters))}\n"
    fd = _open(path)
    try:
        # In place and not by a rename, because the lock belongs to the inode; and padded, because
        # a reader must never see the end of a longer text.
        os.pwrite(fd, text.encode().ljust(256), 0)
    finally:
        os.close(fd)


def lock_exclusively(path: Path) -> int | None:
    """
    Take *path* for a new service and return the lock, or None while another service lives.

    Raises:
        OSError: The directory cannot be written to.
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
    Hold *path* beside the others of its service, and return the lock.

    Raises:
        OSError: It cannot be opened, or a new service is just taking it.
    """
    lock = _open(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def private_directories(parent: Path) -> list[Path]:
    """Return the directories in *parent* that a service of this user made for itself."""
    try:
        return [
            path
            for path in parent.iterdir()
            if path.name.startswith((PREFIX, f".{PREFIX}")) and _is_ours(path)
        ]
    except OSError:
        return []


def remove_dead(parent: Path) -> None:
    """Remove the private directories in *parent* whose service is gone."""
    for path in private_directories(parent):
        with contextlib.suppress(OSError):
            if is_dead(path):
                shutil.rmtree(path, ignore_errors=True)


def is_dead(path: Path) -> bool:
    """
    Return whether no process of the service of *path* is left.

    Raises:
        OSError: It cannot be told.
    """
    main = path
    if path.name.startswith(_SPILL):
        main = Path((path / ".main").read_text())
        owner = read_owner(main)
        if owner is None or path.name != _SPILL + owner.service:
            return True
    if not (main / _OWNER).exists():
        return time.time() - path.stat().st_mtime > _HALF_MADE_SECONDS
    with _probing(main) as dead:
        return dead


def spill_directory(path: Path, *, create: bool) -> Path | None:
    """
    Return the service's directory on another file system, for when that of *path* is full.

    Every process of the service finds the same one. None: there is none (yet, without *create*).
    """
    owner = read_owner(path)
    if owner is None:
        return None
    for parent in (Path(tempfile.gettempdir()), SHARED_MEMORY):
        name = f"{parent}/{_SPILL}{owner.service}"
        if not create and not _is_ours(name):
            continue  # the answer of nearly every scrape
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
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


@contextlib.contextmanager
def _probing(path: Path) -> Iterator[bool]:
    lock = lock_exclusively(path)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)
