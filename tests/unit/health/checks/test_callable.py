"""callable_check makes a check of any function, and shows no other value or error of it."""

from __future__ import annotations

import pytest

from atom_platform.health.check import CheckResult
from atom_platform.health.checks.callable import callable_check


@pytest.mark.parametrize("returned", [None, True, 0, "", "PONG", object()])
def test_any_return_value_but_false_is_healthy(returned: object) -> None:
    """A client library may return an empty value from its ping."""
    result = callable_check("redis", lambda: returned)()

    assert result == CheckResult(healthy=True, message="Redis healthy")


def test_false_is_not_healthy() -> None:
    result = callable_check("redis", lambda: False)()

    assert result == CheckResult(healthy=False, message="Redis not healthy")


def test_a_result_is_returned_unchanged() -> None:
    given = CheckResult(healthy=False, message="Queue too long", details={"jobs": 900.0})

    assert callable_check("queue", lambda: given)() is given


def test_an_exception_is_left_to_the_runner() -> None:
    def broken() -> object:
        raise KeyError("password=hunter2")

    with pytest.raises(KeyError):
        callable_check("redis", broken)()
