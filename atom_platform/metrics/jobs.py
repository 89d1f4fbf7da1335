"""Counting from outside the service: scripts and background workers of the platform."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from atom_platform.metrics.recording import count_problems
from atom_platform.metrics.storage import directory_lock
from atom_platform.metrics.storage.directory import VARIABLE
from atom_platform.metrics.storage.storage import STORAGE
from atom_platform.metrics.storage.value_class import install_value_class

__all__ = ["counting_with_service"]


@contextlib.contextmanager
def counting_with_service(directory: Path | None = None) -> Iterator[Path | None]:
    """
    Have this process's metrics scraped with those of a running service, from a slot of its own.

    What is counted stays counted after the block; gauges of the job end with it.

    Args:
        directory: The service's metrics directory. By default what the environment names, else the
            private directory of the one service of this user that runs here.

    Yields the directory, or None when there is none: the job then counts for itself.
    """
    found = directory or _from_environment() or _only_service()
    before = STORAGE.directory
    STORAGE.switch_to(found)
    install_value_class()
    try:
        yield found
    finally:
        count_problems()
        STORAGE.switch_to(before)


def _from_environment() -> Path | None:
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def _only_service() -> Path | None:
    living = []
    for parent in (directory_lock.SHARED_MEMORY, Path(tempfile.gettempdir())):
        for path in directory_lock.private_directories(parent):
            with contextlib.suppress(OSError):
                if directory_lock.read_owner(path) is not None and not directory_lock.is_dead(path):
                    living.append(path)
    return living[0] if len(living) == 1 else None
