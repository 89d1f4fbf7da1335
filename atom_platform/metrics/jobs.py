"""
Counting from outside the service: scripts and background workers.

Such a process is no child of the arbiter. It finds the metrics directory of the running service and
takes a slot there, so that the service exposes its counts too.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from atom_platform.metrics.families import report_problems
from atom_platform.metrics.storage import directory_lock
from atom_platform.metrics.storage.directory import VARIABLE
from atom_platform.metrics.storage.storage import STORAGE
from atom_platform.metrics.storage.value_class import install_value_class

__all__ = ["counting_with_service"]


@contextlib.contextmanager
def counting_with_service(directory: Path | None = None) -> Iterator[Path | None]:
    """
    Make a running service expose the metrics of this process too. The process takes its own slot.

    Counts remain exposed after the block. Live gauges of the job are removed at its end.

    Args:
        directory: The service's metrics directory. Default: the one named by the environment
            variable, otherwise that of the only service of this user that runs on this machine.

    Yields the directory, or None if there is none: the job then counts in memory.
    """
    found = directory or _from_environment() or _only_service()
    before = STORAGE.directory
    STORAGE.switch_to(found)
    install_value_class()
    try:
        yield found
    finally:
        report_problems()
        STORAGE.switch_to(before)


def _from_environment() -> Path | None:
    """Return the directory in `PROMETHEUS_MULTIPROC_DIR`, if it is set."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def _only_service() -> Path | None:
    """Return the directory of the only running service of this user, if there is exactly one."""
    living = set()  # the temporary directory may lie in shared memory too
    for parent in (directory_lock.SHARED_MEMORY, Path(tempfile.gettempdir())):
        for path in directory_lock.private_directories(parent):
            with contextlib.suppress(OSError):
                if directory_lock.read_owner(path) is not None and not directory_lock.is_dead(path):
                    living.add(path)
    return living.pop() if len(living) == 1 else None
