"""Counting from outside the service: scripts and background workers of the platform."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from atom_platform.metrics.families import report_problems
from atom_platform.metrics.multiprocess import ownership
from atom_platform.metrics.multiprocess.directory import VARIABLE
from atom_platform.metrics.multiprocess.storage import STORAGE
from atom_platform.metrics.multiprocess.values import install

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
    STORAGE.use(found)
    install()
    try:
        yield found
    finally:
        report_problems()
        STORAGE.use(before)


def _from_environment() -> Path | None:
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def _only_service() -> Path | None:
    living = []
    for parent in (ownership.SHARED_MEMORY, Path(tempfile.gettempdir())):
        for path in ownership.private_directories(parent):
            with contextlib.suppress(OSError):
                if ownership.read_owner(path) is not None and not ownership.is_dead(path):
                    living.append(path)
    return living[0] if len(living) == 1 else None
