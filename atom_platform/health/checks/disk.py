"""
Disk check: the file system has the minimum of free space.

A full disk breaks SQLite, the logs and the metric files at the same time. The minimum leaves room
to stop cleanly.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from atom_platform.health.check import Check, CheckResult

__all__ = ["disk_check"]

BYTES_PER_GB: Final = 1024**3  # what `df -h` means by "G"


def free_bytes_on(path: str | os.PathLike[str]) -> int:
    """Return the free bytes of the file system of *path* for an unprivileged process."""
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


def disk_check(
    path: str | os.PathLike[str] = "/",
    *,
    min_free_gb: float = 1.0,
    free_bytes: Callable[[str | os.PathLike[str]], int] = free_bytes_on,
) -> Check:
    """
    Return a check that is healthy while *path* has room.

    It blocks as long as the file system does, for ever on a dead network mount: its runner keeps
    the deadline.

    Args:
        path: Any path on the file system to measure.
        min_free_gb: Least acceptable free space, in GB of 1024**3 bytes; inclusive.
        free_bytes: Reads the free bytes of a path. Tests pass their own.

    Raises:
        OSError: From the returned check, if *path* cannot be read.
    """

    def check() -> CheckResult:
        free_gb = free_bytes(path) / BYTES_PER_GB
        healthy = free_gb >= min_free_gb
        return CheckResult(
            healthy=healthy,
            message=f"{free_gb:.2f}GB free",
            details={"free_gb": round(free_gb, 2)},
            code="ok" if healthy else "disk_low",
        )

    return check
