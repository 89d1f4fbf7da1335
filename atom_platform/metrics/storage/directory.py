"""
The directory in which the processes of one service count: chosen, taken and emptied at its start.

This happens before anything imports prometheus_client, which decides at its import how values are
stored; so it is standard library only.

Whether this process counts with the service that has a directory.

A process of the service (the arbiter, its workers, what they fork) belongs to that one service. Any
other, such as a job that was told the directory, counts with whichever service has it.
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

#: The variable that prometheus_client itself reads.
VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"

#: What an earlier life may have left. Not `.slots`: a job that outlived it holds its slot there.
_LEFTOVERS: Final = ("*.db", "*.columnar", "*.corrupt", "*.exemplars", ".new-*")
#: Least room that a directory must have to be worth starting in.
_PROBE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class DirectoryProblem:
    """
    Why the directory is not the one asked for; told once the log exists.

    Attributes:
        event: The event to log.
        path: What was asked for.
        error: The reason, for the log only.
        fault: Whether it is an error to count, or merely worth a line.
    """

    event: str
    path: Path
    error: str
    fault: bool


@dataclass(frozen=True, slots=True)
class Directory:
    """
    Where this service counts.

    Attributes:
        path: None when no place could be written to: each process then counts in its own memory.
        owner: Whose it is.
        private: Whether it was made at start, and goes when the service stops.
        problem: What has to be told about the choice, if anything.
    """

    path: Path | None
    owner: Owner
    private: bool = False
    problem: DirectoryProblem | None = None


_prepared: Directory | None = None
#: Locks held for life; closing one would give the directory up.
_locks: list[int] = []


def prepare(configured: Path | None) -> Directory:
    """
    Choose the directory, make it ours, empty it, and name it in the environment.

    Call it in the arbiter before prometheus_client is imported. Called again (gunicorn runs its
    configuration anew on SIGHUP) it returns the first answer. The re-execution of a living arbiter
    (SIGUSR2) joins the directory of that arbiter and empties nothing.

    Never raises: without any place to write, `path` is None.
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
    """Return what `prepare` chose for the service that this process is of, if it is of one."""
    return _prepared


def become_arbiter() -> None:
    """
    Make this process the arbiter of the prepared directory, if it is not yet.

    `--daemon` forks between the configuration and the arbiter; call it as the arbiter starts.
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
    """Return the directory of the arbiter that re-executed itself into this process, if one did."""
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
            # The parent stays named: it may re-execute itself again, should this one fail to boot.
            owner = replace(owner, arbiters=(parent, os.getpid()))
            directory_lock.write_owner(path, owner)
            return Directory(path.resolve(), owner, private=path.name.startswith(PREFIX))
    return None


def _chosen(configured: Path | None) -> Directory:
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
    """Make *path* ours unless a living service has it; raise OSError if it cannot be written to."""
    lock = directory_lock.lock_exclusively(path)
    if lock is None:
        return False
    try:
        _empty(path)  # before the probe: leftovers may be what fills the file system
        _probe(path)
        directory_lock.write_owner(path, owner)
        # Shared from here on, so that a re-executed arbiter can hold it beside this one.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    _locks.append(lock)
    return True


def _probe(path: Path) -> None:
    """Raise OSError unless files can be made in *path*, filled and removed."""
    probe = path / f".new-probe-{os.getpid()}"
    fd = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.posix_fallocate(fd, 0, _PROBE_BYTES)
    finally:
        os.close(fd)
        probe.unlink()


def _empty(path: Path) -> None:
    for pattern in _LEFTOVERS:
        for leftover in path.glob(pattern):
            with contextlib.suppress(OSError):
                leftover.unlink()
    directory_lock.remove_dead(path)


def _make_private(parent: Path, owner: Owner) -> Path:
    # Made under another name and moved once it is locked: who cleans up never meets it unlocked.
    made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))
    try:
        if not _take(made, owner):
            raise OSError("somebody else locked a directory just made")
        return made.rename(parent / f"{PREFIX}{owner.service}")
    except OSError:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _release(pid: int) -> None:
    """Remove what was made for the service as its arbiter ends for good."""
    if os.getpid() != pid or _prepared is None or (path := _prepared.path) is None:
        return
    with contextlib.suppress(OSError):
        # Workers share this very lock, so that only another arbiter of the service can refuse.
        for lock in _locks:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (spill := directory_lock.spill_directory(path, create=False)) is not None:
            shutil.rmtree(spill, ignore_errors=True)
        guests = directory_lock.private_directories(path)
        if _prepared.private and all(directory_lock.is_dead(guest) for guest in guests):
            shutil.rmtree(path, ignore_errors=True)


_rejoined_locks: list[int] = []


def service_of(directory: Path) -> str | None:
    """Return the name of the service that has *directory*, if one says so."""
    owner = directory_lock.read_owner(directory)
    return owner.service if owner else None


def may_count_in(directory: Path) -> bool:
    """Return whether this process may count in *directory*."""
    ours = prepared()
    if ours is None or ours.path != directory:
        return True
    there = service_of(directory)
    return there is None or there == ours.owner.service


def recreate_if_deleted(directory: Path) -> bool:
    """
    Make *directory* again if it was deleted, and return whether this process may count in it.

    Only a process of a living service makes it again: one that outlived its arbiter would leave a
    directory behind that nobody removes, and a job does not know who is to have it.

    Raises:
        OSError: It cannot be made.
    """
    ours = prepared()
    if ours is None or ours.path != directory:
        return directory.is_dir()
    if not may_count_in(directory):
        return False
    if service_of(directory) is None:
        if not any(_lives(pid) for pid in ours.owner.arbiters):
            return False
        directory.mkdir(mode=0o700 if ours.private else 0o777, parents=True, exist_ok=True)
        _rejoined_locks.append(directory_lock.lock_shared(directory))
        directory_lock.write_owner(directory, ours.owner)
    return True


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
