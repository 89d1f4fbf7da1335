"""A check made of any function: its return value or exception decides whether it is healthy."""

from __future__ import annotations

from collections.abc import Callable

from atom_platform.health.check import Check, CheckResult

__all__ = ["callable_check"]


def callable_check(name: str, function: Callable[[], object]) -> Check:
    """
    Return a check that calls *function*; its messages begin with *name*.

    It is healthy unless *function* returns False or raises. A `CheckResult` is returned as it is,
    and the text of a `CheckFailed` is shown. Other values and errors may hold secrets and are not.
    """
    word = name.capitalize()

    def check() -> CheckResult:
        returned = function()
        if isinstance(returned, CheckResult):
            return returned
        if returned is False:
            return CheckResult(healthy=False, message=f"{word} not healthy")
        return CheckResult(healthy=True, message=f"{word} healthy")

    return check
