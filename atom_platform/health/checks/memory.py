"""
Memory check: take no more work shortly before the kernel ends the container for its memory.

Counted as kubelet does: what the kernel could drop at once, file pages not used lately, is free.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atom_platform.health.result import Check, CheckResult

__all__ = ["memory_check"]

BYTES_PER_GB: Final = 1024**3
#: cgroup v1 writes "no limit" as the largest multiple of a page; no machine has half of it.
UNLIMITED_BYTES: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class _Usage:
    used_bytes: int
    limit_bytes: int

    @property
    def share(self) -> float:
        return self.used_bytes / self.limit_bytes


def memory_check(
    *,
    max_share: float = 0.95,
    cgroup: Path = Path("/sys/fs/cgroup"),
    process: Path = Path("/proc/self/cgroup"),
) -> Check:
    """
    Return a check that is healthy while less than *max_share* of the memory limit is in use.

    The limit is that of this process's control group or of one around it, whichever is nearer to
    its end. Without a limit the check is healthy.

    Args:
        max_share: Between 0 and 1; exclusive.
        cgroup: Where the control groups are mounted, version 1 or 2.
        process: What says which one this process is in.

    Raises:
        ValueError: *max_share* is no share.
        OSError: From the returned check, if the kernel does not say.
    """
    if not 0 < max_share <= 1:
        raise ValueError("max_share must be above 0 and at most 1")

    def check() -> CheckResult:
        usages = [usage for group in _groups(cgroup, process) if (usage := _usage(group))]
        if not usages:
            return CheckResult(healthy=True, message="No memory limit")
        worst = max(usages, key=lambda usage: usage.share)
        healthy = worst.share < max_share
        return CheckResult(
            healthy=healthy,
            message=f"{worst.share:.0%} of the memory limit used",
            details={
                "used_gb": round(worst.used_bytes / BYTES_PER_GB, 3),
                "limit_gb": round(worst.limit_bytes / BYTES_PER_GB, 3),
            },
            code="ok" if healthy else "memory_high",
        )

    return check


def _groups(cgroup: Path, process: Path) -> list[Path]:
    """Return the directories of this process's group and of those around it, the root included."""
    for line in process.read_text().splitlines():
        _, controllers, name = line.split(":", 2)
        if not controllers:
            root = cgroup
        elif "memory" in controllers.split(","):
            root = cgroup / "memory"
        else:
            continue
        own = root / name.lstrip("/")
        if controllers or (own / "memory.max").exists() or (root / "memory.max").exists():
            # In a container the name may be the host's, and only the root be mounted.
            inner = [own, *own.parents] if own.is_dir() else [root]
            return [group for group in inner if group == root or root in group.parents]
    return []


def _usage(group: Path) -> _Usage | None:
    """Return what *group* uses and may use; None when it has no limit of its own."""
    with contextlib.suppress(FileNotFoundError):
        text = (group / "memory.max").read_text().strip()
        if text == "max":
            return None
        used = int((group / "memory.current").read_text())
        return _Usage(used - _idle_file_bytes(group, "inactive_file"), int(text))
    with contextlib.suppress(FileNotFoundError):
        limit = int((group / "memory.limit_in_bytes").read_text())
        if limit >= UNLIMITED_BYTES:
            return None
        used = int((group / "memory.usage_in_bytes").read_text())
        return _Usage(used - _idle_file_bytes(group, "total_inactive_file"), limit)
    return None


def _idle_file_bytes(group: Path, key: str) -> int:
    for line in (group / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return 0
