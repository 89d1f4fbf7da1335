"""
Memory check: take no more work shortly before the kernel ends the container for its memory.

Counted as kubelet does: what the kernel could drop at once, file pages not used lately, is free.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from atom_platform.cgroups import memory_usages
from atom_platform.health.result import Check, CheckResult

__all__ = ["memory_check"]

BYTES_PER_GB: Final = 1024**3


def memory_check(*, max_share: float = 0.95, root: Path = Path("/")) -> Check:
    """
    Return a check that is healthy while less than *max_share* of the memory limit is in use.

    The limit is that of this process's control group or of one around it, whichever is nearer to
    its end. Without a limit the check is healthy.

    Args:
        max_share: Between 0 and 1; exclusive.
        root: Where `proc` and `sys` are. Tests pass their own.

    Raises:
        ValueError: *max_share* is no share.
        OSError: From the returned check, if the kernel does not say.
    """
    if not 0 < max_share <= 1:
        raise ValueError("max_share must be above 0 and at most 1")

    def check() -> CheckResult:
        usages = memory_usages(root)
        if not usages:
            return CheckResult(healthy=True, message="No memory limit")
        worst = max(usages, key=lambda usage: usage.share)
        return CheckResult(
            healthy=worst.share < max_share,
            message=f"{worst.share:.0%} of the memory limit used",
            details={
                "used_gb": round(worst.used_bytes / BYTES_PER_GB, 3),
                "limit_gb": round(worst.limit_bytes / BYTES_PER_GB, 3),
            },
        )

    return check
