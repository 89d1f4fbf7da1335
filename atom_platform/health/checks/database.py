"""
Database check: one round trip, on a connection that belongs to the check alone.

A pool that the application has used up is not a database that is gone: taking every busy worker out
of service would make an overload worse.
"""

from __future__ import annotations

from collections.abc import Callable

from atom_platform.health.check import Check, CheckResult

__all__ = ["database_check"]


def database_check(ping: Callable[[], object]) -> Check:
    """
    Return a check that is healthy when *ping* comes back.

    Args:
        ping: Makes the round trip. What it returns is ignored.

    Raises:
        CheckFailed: From the returned check, when *ping* knows why the database cannot be used.
    """

    def check() -> CheckResult:
        ping()
        return CheckResult(healthy=True, message="Database accessible")

    return check
