"""A function of anybody's as a check: what it returns, or raises, says whether all is well."""

from __future__ import annotations

from collections.abc import Callable

from atom_platform.health.check import Check, CheckResult

__all__ = ["plain_check"]


def plain_check(name: str, function: Callable[[], object]) -> Check:
    """
    Return *function* as a check, called *name* in its sentences.

    It is healthy unless it returns False or raises; a `CheckResult` is taken as it is, and the text
    of a `CheckFailed` is shown. Nothing else that it returns or raises is: it may hold a secret.
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
