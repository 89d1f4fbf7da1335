"""
How many workers a container's CPU limit carries.

The kernel keeps limits in control groups, version 2 (`cpu.max`) or 1 (`cpu.cfs_quota_us`), and a
group is also bound by those around it. Not `os.cpu_count()`: that is the machine's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["cpu_limit", "default_workers"]

#: With one CPU or more: two, so that one serves while the other is being replaced. Not more by
#: itself on more CPUs: each takes database connections out of a budget that no replica can see.
USUAL_WORKERS: Final = 2

ROOT: Final = Path("/")


def default_workers(limit_cpus: float | None) -> int:
    """Return how many workers to start unasked: one where two would share less than a CPU."""
    return 1 if limit_cpus is not None and limit_cpus < 1 else USUAL_WORKERS


def cpu_limit(root: Path = ROOT) -> float | None:
    """
    Return how many CPUs' worth of time this process may take; None when nothing limits it.

    Args:
        root: Where `proc` and `sys` are. Tests pass their own.
    """
    try:
        return min(_limits(root), default=None)
    except (OSError, ValueError):  # no control groups, or some that this does not know
        return None


def _limits(root: Path) -> Iterator[float]:
    groups = root / "sys/fs/cgroup"
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _of_version_2(groups, path)
        elif "cpu" in controllers.split(","):
            yield from _of_version_1(groups / controllers, path)


def _of_version_2(mount: Path, path: str) -> Iterator[float]:
    for group in _group_and_those_around(mount, path):
        if (file := group / "cpu.max").is_file():
            quota, period = file.read_text().split()
            if quota != "max":
                yield int(quota) / int(period)


def _of_version_1(mount: Path, path: str) -> Iterator[float]:
    for group in _group_and_those_around(mount, path):
        if (file := group / "cpu.cfs_quota_us").is_file():
            quota = int(file.read_text())
            if quota > 0:  # -1 is no limit
                yield quota / int((group / "cpu.cfs_period_us").read_text())


def _group_and_those_around(mount: Path, path: str) -> Iterator[Path]:
    """In a container the path may be the machine's: groups that are not to be seen are left out."""
    group = mount / path.strip("/")
    yield group
    while group != mount and mount in group.parents:
        group = group.parent
        yield group
