"""
The metrics directory of one service: chosen, locked and emptied when the service starts.

prometheus_client decides at its import how it stores values, and this module must run earlier. So
it imports only the standard library.

A process of the service (arbiter, worker or their children) counts only for that service. Any other
process, such as a job that was given the directory, counts for the service that owns it.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from atom_platform.metrics.storage import directory_lock
from atom_platform.metrics.storage.directory_lock import PREFIX, SHARED_MEMORY, Owner

__all__ = [
    "VARIABLE",
    "Directory",
    "DirectoryProblem",
    "become_arbiter",
    "may_count_in",
    "prepare",
    "prepared",
    "recreate_if_deleted",
    "service_of",
]

#: The environment variable that prometheus_client reads.
VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"

#: Files that an earlier run may have left. Not `.slots`: a job may still hold its slot there.
_LEFTOVERS: Final = ("*.db", "*.columnar", "*.corrupt", "*.exemplars", ".new-*")
#: Free space, in bytes, that a directory must have at the start.
_PROBE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class DirectoryProblem:
    """
    Why the service does not use the configured directory. It is logged once the log is set up.

    Attributes:
        event: The name of the log event.
        path: The configured directory.
        error: The reason, for the log only.
        fault: Whether it counts as an error. Otherwise it is only logged.
    """

    event: str
    path: Path
    error: str
    fault: bool


@dataclass(frozen=True, slots=True)
class Directory:
    """
    The metrics directory that was chosen at the start.

    Attributes:
        path: None if no directory is writable: each process then counts in its own memory.
        owner: The service that owns the directory.
        private: Whether it was created at the start and is removed when the service stops.
        problem: Why it is not the configured directory, if it is not.
    """

    path: Path | None
    owner: Owner
    private: bool = False
    problem: DirectoryProblem | None = None


_prepared: Directory | None = None
#: Descriptors of the owner locks, held until the process ends. Closing one would release its lock.
_locks: list[int] = []


def prepare(configured: Path | None) -> Directory:
    """
    Choose the directory, lock it, empty it, and set the environment variable to its path.

    Call it in the arbiter before prometheus_client is imported. Later calls return the same result,
    because gunicorn executes its configuration again on SIGHUP. An arbiter that was re-executed
    (SIGUSR2) shares the directory of the arbiter that started it, and empties nothing.

    Never raises: `path` is None if no directory is writable.
    """
    global _prepared
    if _prepared is None:
        _prepared = _joined_from_parent(configured) or _chosen(configured)
        if _prepared.path is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = str(_prepared.path)
            atexit.register(_release, os.getpid())
    return _prepared


def prepared() -> Directory | None:
    """Return the directory of the service of this process, or None outside a service."""
    return _prepared


def become_arbiter() -> None:
    """
    Record this process as the arbiter that owns the prepared directory.

    Call it when the arbiter starts: `--daemon` forks after the configuration was read.
    """
    global _prepared
    pid = os.getpid()
    if _prepared is None or pid in _prepared.owner.arbiters:
        return
    owner = replace(_prepared.owner, arbiters=(*_prepared.owner.arbiters[:-1], pid))
    _prepared = replace(_prepared, owner=owner)
    if _prepared.path is not None:
        atexit.register(_release, pid)
        with contextlib.suppress(OSError):
            directory_lock.write_owner(_prepared.path, owner)


def _joined_from_parent(configured: Path | None) -> Directory | None:
    """Return the directory of the arbiter that started this process by SIGUSR2, or None."""
    parent = os.getppid()
    if os.environ.get("GUNICORN_PID") != str(parent):
        return None
    parents = [SHARED_MEMORY, Path(tempfile.gettempdir())]
    candidates = [path for each in parents for path in directory_lock.private_directories(each)]
    if configured is not None:
        candidates += [configured, *directory_lock.private_directories(configured)]
    for path in candidates:
        owner = directory_lock.read_owner(path)
        if owner is None or parent not in owner.arbiters:
            continue
        with contextlib.suppress(OSError):
            _locks.append(directory_lock.lock_shared(path))
            # The parent stays listed: it may re-execute itself again if this arbiter fails to boot.
            owner = replace(owner, arbiters=(parent, os.getpid()))
            directory_lock.write_owner(path, owner)
            return Directory(path.resolve(), owner, private=path.name.startswith(PREFIX))
    return None


def _chosen(configured: Path | None) -> Directory:
    """Return the configured directory if it can be locked, otherwise a new private one."""
    owner = Owner(secrets.token_hex(8), time.time(), (os.getpid(),))
    problem: DirectoryProblem | None = None
    parents = [SHARED_MEMORY, Path(tempfile.gettempdir())]
    for parent in parents:
        directory_lock.remove_dead(parent)
    if configured is not None:
        try:
            configured.mkdir(parents=True, exist_ok=True)
            configured = configured.resolve()
            if _take(configured, owner):
                return Directory(configured, owner)
            problem = DirectoryProblem(
                "metrics_directory_in_use", configured, "locked", fault=False
            )
            parents.insert(0, configured)
        except (OSError, ValueError) as error:
            problem = DirectoryProblem(
                "metrics_directory_unusable", configured, str(error), fault=True
            )
    for parent in parents:
        try:
            return Directory(_make_private(parent, owner), owner, private=True, problem=problem)
        except OSError as error:
            problem = problem or DirectoryProblem(
                "metrics_directory_unusable", parent, str(error), fault=True
            )
    return Directory(None, owner, problem=problem)


def _take(path: Path, owner: Owner) -> bool:
    """
    Lock *path* and empty it. Return False if a running service holds the lock.

    Raises:
        OSError: The directory is not writable.
    """
    lock = directory_lock.lock_exclusively(path)
    if lock is None:
        return False
    try:
        _empty(path)  # before the write test: old files may be what fills the file system
        _probe(path)
        directory_lock.write_owner(path, owner)
        # Shared from now on, so that a re-executed arbiter can hold the lock too.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    _locks.append(lock)
    return True


def _probe(path: Path) -> None:
    """Raise OSError unless files can be created, written and removed in *path*."""
    probe = path / f".new-probe-{os.getpid()}"
    fd = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.posix_fallocate(fd, 0, _PROBE_BYTES)
    finally:
        os.close(fd)
        probe.unlink()


def _empty(path: Path) -> None:
    """Remove the files of earlier runs, and private directories of dead services, from *path*."""
    for pattern in _LEFTOVERS:
        for leftover in path.glob(pattern):
            with contextlib.suppress(OSError):
                leftover.unlink()
    directory_lock.remove_dead(path)


def _make_private(parent: Path, owner: Owner) -> Path:
    # Renamed once it is locked: another service that cleans up never sees it without a lock.
    made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))
    try:
        if not _take(made, owner):
            raise OSError("another process locked a new directory")
        return made.rename(parent / f"{PREFIX}{owner.service}")
    except OSError:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _release(pid: int) -> None:
    """Remove the service's private directories when the arbiter of process id *pid* exits."""
    if os.getpid() != pid or _prepared is None or (path := _prepared.path) is None:
        return
    with contextlib.suppress(OSError):
        # Workers share this lock by inheritance, so only another arbiter can prevent the upgrade.
        for lock in _locks:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (spill := directory_lock.spill_directory(path, create=False)) is not None:
            shutil.rmtree(spill, ignore_errors=True)
        nested = directory_lock.private_directories(path)
        if _prepared.private and all(directory_lock.is_dead(each) for each in nested):
            shutil.rmtree(path, ignore_errors=True)


#: Descriptors of the locks of directories that this process created again.
_rejoined_locks: list[int] = []


def service_of(directory: Path) -> str | None:
    """Return the name of the service that owns *directory*, or None if no owner is recorded."""
    owner = directory_lock.read_owner(directory)
    return owner.service if owner else None


def may_count_in(directory: Path) -> bool:
    """Return whether the service that owns *directory* is the one this process counts for."""
    ours = prepared()
    if ours is None or ours.path != directory:
        return True
    there = service_of(directory)
    return there is None or there == ours.owner.service


def recreate_if_deleted(directory: Path) -> bool:
    """
    Create *directory* again if it was deleted. Return whether this process may count in it.

    Only a process whose arbiter is alive creates it: without an arbiter nothing would remove it. A
    job does not create it either, because it does not know the owner.

    Raises:
        OSError: It cannot be created.
    """
    ours = prepared()
    if ours is None or ours.path != directory:
        return directory.is_dir()
    if not may_count_in(directory):
        return False
    if service_of(directory) is None:
        if not any(_is_running(pid) for pid in ours.owner.arbiters):
            return False
        directory.mkdir(mode=0o700 if ours.private else 0o777, parents=True, exist_ok=True)
        _rejoined_locks.append(directory_lock.lock_shared(directory))
        directory_lock.write_owner(directory, ours.owner)
    return True


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
