"""Is there room on the file system that readiness watches?"""

from __future__ import annotations

from collections.abc import Iterator

from atom_platform.health.checks.disk import disk_check
from atom_platform.settings import Settings
from atom_platform.tools.doctor.finding import Finding, ok, trouble, warning

__all__ = ["check_disk"]

AREA = "disk"

#: Nearer to the minimum than this, it is a matter of time.
CLOSE = 1.5


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Yield what is to be said about free space."""
    path, minimum = settings.disk_path, settings.disk_min_free_gb
    try:
        result = disk_check(path, min_free_gb=minimum)()
    except OSError as error:
        yield trouble(
            AREA,
            "disk-unreadable",
            f"{path} cannot be read: {error.strerror}",
            why="The disk check fails, and readiness answers 503.",
            do="Set ATOM_DISK_PATH to a path that exists on the file system to watch.",
        )
        return
    free_gb = result.details["free_gb"] or 0.0
    what = f"{result.message} on {path}; {minimum:g}GB is the minimum"
    if not result.healthy:
        yield trouble(
            AREA,
            "disk-full",
            what,
            why="Readiness answers 503 and the service gets no traffic.",
            do=f"Free space: `df -h {path}`, `du -xh {path} | sort -h | tail`.",
        )
    elif free_gb < minimum * CLOSE:
        yield warning(
            AREA,
            "disk-filling",
            what,
            why="Below the minimum readiness answers 503.",
            do=f"Free space now: `du -xh {path} | sort -h | tail`.",
        )
    else:
        yield ok(AREA, "disk-free", what)
