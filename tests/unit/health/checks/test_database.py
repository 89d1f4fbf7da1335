"""database_check is healthy when its ping returns."""

from __future__ import annotations

import pytest

from atom_platform.health.check import CheckFailed
from atom_platform.health.checks.database import database_check


def test_healthy_when_the_ping_returns() -> None:
    """Any return value will do; most pings return None."""
    check = database_check(lambda: None)

    assert check().as_dict() == {"healthy": True, "message": "Database accessible"}


def test_each_run_pings() -> None:
    pings: list[int] = []
    check = database_check(lambda: pings.append(1))

    check()
    check()

    assert pings == [1, 1]


def test_the_error_of_the_ping_is_raised() -> None:
    def refused() -> None:
        raise CheckFailed("Database refused the connection")

    with pytest.raises(CheckFailed, match="Database refused the connection"):
        database_check(refused)()
