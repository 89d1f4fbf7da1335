"""
Database check: one round trip, on a connection of its own.

An exhausted pool of the application does not mean that the database is down: taking busy workers
out of service would make an overload worse.
"""

from __future__ import annotations

from collections.abc import Callable

from atom_platform.health.check import Check, CheckResult

__all__ = ["database_check"]


def database_check(ping: Callable[[], object]) -> Check:
    """
    Return a check that is healthy when *ping* returns.

    Args:
        ping: Makes the round trip; its return value is ignored.

    Raises:
        CheckFailed: From the returned check, when *ping* raises it.
    """

    def check() -> CheckResult:
        ping()
        return CheckResult(healthy=True, message="Database accessible")

    return check
