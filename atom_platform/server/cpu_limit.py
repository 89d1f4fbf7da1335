"""
How many workers a container's CPU limit carries.

Not `os.cpu_count()`: that is the machine's.
"""

from __future__ import annotations

from typing import Final

__all__ = ["default_workers"]

#: With one CPU or more: two, so that one serves while the other is being replaced. Not more by
#: itself on more CPUs: each takes database connections out of a budget that no replica can see.
USUAL_WORKERS: Final = 2


def default_workers(limit_cpus: float | None) -> int:
    """Return how many workers to start unasked: one where two would share less than a CPU."""
    return 1 if limit_cpus is not None and limit_cpus < 1 else USUAL_WORKERS
