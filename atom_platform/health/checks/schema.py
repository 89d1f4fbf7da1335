"""
Schema check at startup: the tables are those of this version of the code.

It runs until it is healthy once, and never again. A rolling deployment migrates the database while
workers of the old version go on serving.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from atom_platform.health.check import Check, CheckResult

__all__ = ["SchemaState", "schema_check"]

SchemaState: TypeAlias = Literal["current", "behind", "ahead"]


def schema_check(state: Callable[[], SchemaState]) -> Check:
    """
    Return a check that is healthy when *state* returns `current`.

    A worker that finds a newer schema has started, because a restart would change nothing.
    Readiness keeps traffic away and says why.
    """

    def check() -> CheckResult:
        found = state()
        if found == "current":
            return CheckResult(healthy=True, message="Database schema current")
        if found == "ahead":
            return CheckResult(
                healthy=False,
                message="Database schema is newer than this version knows",
                blocks_startup=False,
                code="schema_ahead",
            )
        return CheckResult(
            healthy=False,
            message="Database schema waits for its migration",
            code="schema_behind",
        )

    return check
