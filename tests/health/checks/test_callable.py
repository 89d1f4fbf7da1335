"""plain_check makes a check of any function, and says nothing that the function did not mean to."""

from __future__ import annotations

import pytest

from atom_platform.health.check import CheckResult
from atom_platform.health.checks.callable import callable_check


@pytest.mark.parametrize("returned", [None, True, 0, "", "PONG", object()])
def test_whatever_it_returns_is_healthy(returned: object) -> None:
    """Not truth: what a client library returns from a ping may well be empty."""
    result = callable_check("redis", lambda: returned)()

    assert result == CheckResult(healthy=True, message="Redis healthy")


def test_false_is_not_healthy() -> None:
    result = callable_check("redis", lambda: False)()

    assert result == CheckResult(healthy=False, message="Redis not healthy")


def test_a_result_is_taken_as_it_is() -> None:
    given = CheckResult(healthy=False, message="Queue too long", details={"jobs": 900.0})

    assert callable_check("queue", lambda: given)() is given


def test_an_exception_is_left_to_the_guard() -> None:
    def broken() -> object:
        raise KeyError("password=hunter2")

    with pytest.raises(KeyError):
        callable_check("redis", broken)()
