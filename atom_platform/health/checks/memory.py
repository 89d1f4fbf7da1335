"""
Memory check: the container has not nearly used up its memory limit.

Above the share the worker takes no more work, before the kernel kills a process of the container.
Memory is counted as kubelet does: file pages that the kernel can drop at once are free.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from atom_platform.cgroups import memory_usages
from atom_platform.health.check import Check, CheckResult

__all__ = ["memory_check"]

BYTES_PER_GB: Final = 1024**3


def memory_check(*, max_share: float = 0.95, root: Path = Path("/")) -> Check:
    """
    Return a check that is healthy while less than *max_share* of the memory limit is in use.

    The limit is that of this process's control group or of a group around it, whichever has the
    higher share in use. Without a limit the check is healthy.

    Args:
        max_share: Above 0 and at most 1; a usage of exactly this share is unhealthy.
        root: Where `proc` and `sys` are. Tests pass their own.

    Raises:
        ValueError: *max_share* is out of range.
        OSError: From the returned check, if the kernel's files cannot be read.
    """
    if not 0 < max_share <= 1:
        raise ValueError("max_share must be above 0 and at most 1")

    def check() -> CheckResult:
        usages = memory_usages(root)
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
