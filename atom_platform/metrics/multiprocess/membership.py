"""
Whether this process counts with the service that has a directory.

A process of the service (the arbiter, its workers, what they fork) belongs to that one service. Any
other, such as a job that was told the directory, counts with whichever service has it.
"""

from __future__ import annotations

import os
from pathlib import Path

from atom_platform.metrics.multiprocess import directory as directories
from atom_platform.metrics.multiprocess import ownership

__all__ = ["belongs", "return_to", "service_of"]

_locks: list[int] = []


def service_of(directory: Path) -> str | None:
    """Return the name of the service that has *directory*, if one says so."""
    owner = ownership.read_owner(directory)
    return owner.service if owner else None


def belongs(directory: Path) -> bool:
    """Return whether this process may count in *directory*."""
    ours = directories.prepared()
    if ours is None or ours.path != directory:
        return True
    there = service_of(directory)
    return there is None or there == ours.owner.service


def return_to(directory: Path) -> bool:
    """
    Make *directory* again if it was deleted, and return whether this process may count in it.

    Only a process of a living service makes it again: one that outlived its arbiter would leave a
    directory behind that nobody removes, and a job does not know who is to have it.

    Raises:
        OSError: It cannot be made.
    """
    ours = directories.prepared()
    if ours is None or ours.path != directory:
        return directory.is_dir()
    if not belongs(directory):
        return False
    if service_of(directory) is None:
        if not any(_lives(pid) for pid in ours.owner.arbiters):
            return False
        directory.mkdir(mode=0o700 if ours.private else 0o777, parents=True, exist_ok=True)
        _locks.append(ownership.join(directory))
        ownership.write_owner(directory, ours.owner)
    return True


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
