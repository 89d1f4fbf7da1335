"""
What the control groups of Linux say about this process: CPU limit, memory use, out-of-memory kills.

Both versions are read. A process is bound by its own group and by every group around it. In a
container `/proc/self/cgroup` may name the host's path; groups that are not mounted are left out.

Standard library only, because the server reads this before it has loaded the application.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["MemoryUsage", "cpu_limit", "memory_usages", "oom_kills"]

ROOT: Final = Path("/")

#: Version 1 writes "no limit" as the largest multiple of a page; no machine has half of it.
UNLIMITED_BYTES: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """
    The memory of one group.

    Attributes:
        used_bytes: As kubelet counts: file pages not used lately are free, for the kernel can drop
            them at once.
        limit_bytes: What the group may use.
    """

    used_bytes: int
    limit_bytes: int

    @property
    def share(self) -> float:
        """The part of the limit in use; 1.0 is all of it."""
        return self.used_bytes / self.limit_bytes


def cpu_limit(root: Path = ROOT) -> float | None:
    """
    Return how many CPUs' worth of time this process may take; None when nothing limits it.

    Args:
        root: Where `proc` and `sys` are. Tests pass their own.
    """
    try:
        return min(_cpu_limits(root), default=None)
    except (OSError, ValueError):  # no control groups, or a format that this does not know
        return None


def memory_usages(root: Path = ROOT) -> list[MemoryUsage]:
    """
    Return the usage of each group around this process that has a memory limit, its own first.

    Raises:
        OSError: The kernel's files cannot be read.
    """
    usages = [
        _memory_usage_v2(group) if version == 2 else _memory_usage_v1(group)
        for version, group in _groups(root, "memory")
    ]
    return [usage for usage in usages if usage is not None]


def oom_kills(root: Path = ROOT) -> int:
    """
    Return how many processes of this group the kernel has killed for lack of memory.

    Outside of any group it is the host's own counter; 0 without kernel files.
    """
    mount = root / "sys/fs/cgroup"
    candidates = [mount / "memory.events", mount / "memory/memory.oom_control"]
    with contextlib.suppress(OSError, ValueError):
        own = [
            group / ("memory.events" if version == 2 else "memory.oom_control")
            for version, group in _groups(root, "memory", around=False)
        ]
        candidates = own + candidates
    for candidate in [*candidates, root / "proc/vmstat"]:
        with contextlib.suppress(OSError, ValueError):
            if (kills := _value(candidate, "oom_kill")) is not None:
                return kills
    return 0


def _groups(root: Path, controller: str, *, around: bool = True) -> Iterator[tuple[int, Path]]:
    """
    Yield the version and the directory of this process's group, then of those around it.

    Raises:
        OSError: The kernel has no control groups.
        ValueError: It lists them in a format that this does not know.
    """
    mount = root / "sys/fs/cgroup"
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            version, top = 2, mount
        elif controller in controllers.split(","):
            version, top = 1, mount / controllers
            if not top.is_dir():
                top = mount / controller
        else:
            continue
        group = top / path.strip("/")
        yield version, group
        while around and group != top and top in group.parents:
            group = group.parent
            yield version, group


def _cpu_limits(root: Path) -> Iterator[float]:
    for version, group in _groups(root, "cpu"):
        if version == 2 and (file := group / "cpu.max").is_file():
            quota, period = file.read_text().split()
            if quota != "max":
                yield int(quota) / int(period)
        if version == 1 and (file := group / "cpu.cfs_quota_us").is_file():
            quota_us = int(file.read_text())
            if quota_us > 0:  # -1 is no limit
                yield quota_us / int((group / "cpu.cfs_period_us").read_text())


def _memory_usage_v2(group: Path) -> MemoryUsage | None:
    """Return what *group* uses; None when it has no limit of its own, or is not mounted."""
    with contextlib.suppress(FileNotFoundError):
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            used = int((group / "memory.current").read_text())
            idle = _value(group / "memory.stat", "inactive_file") or 0
            return MemoryUsage(used - idle, int(limit))
    return None


def _memory_usage_v1(group: Path) -> MemoryUsage | None:
    with contextlib.suppress(FileNotFoundError):
        limit = int((group / "memory.limit_in_bytes").read_text())
        if limit < UNLIMITED_BYTES:
            used = int((group / "memory.usage_in_bytes").read_text())
            idle = _value(group / "memory.stat", "total_inactive_file") or 0
            return MemoryUsage(used - idle, limit)
    return None


def _value(path: Path, key: str) -> int | None:
    """Return the number behind *key* in a file of `key number` lines; None without such a line."""
    for line in path.read_text().splitlines():
        name, _, number = line.partition(" ")
        if name == key:
            return int(number)
    return None
