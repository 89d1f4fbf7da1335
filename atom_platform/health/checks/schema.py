"""
Schema gate: take no traffic on tables that this version of the code does not know.

It is asked until it says yes, and never again: a rolling deployment migrates the database under the
old version's workers, which go on serving.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from atom_platform.health.check import Check, CheckResult

__all__ = ["SchemaState", "schema_check"]

SchemaState: TypeAlias = Literal["current", "behind", "ahead"]


def schema_check(state: Callable[[], SchemaState]) -> Check:
    """
    Return a check that is healthy once *state* says that the tables are those of the code.

    A worker that meets a newer schema counts as started: restarting it would change nothing. It is
    readiness that keeps traffic away and says why.
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
