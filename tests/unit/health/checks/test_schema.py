"""schema_check lets a worker take traffic only with the tables it knows."""

from __future__ import annotations

import pytest

from atom_platform.health.checks.schema import SchemaState, schema_check


@pytest.mark.parametrize(
    ("state", "healthy", "blocks_startup"),
    [
        pytest.param("current", True, True, id="current"),
        pytest.param("behind", False, True, id="behind-may-be-migrated-any-moment"),
        pytest.param("ahead", False, False, id="ahead-is-not-cured-by-a-restart"),
    ],
)
def test_state_decides(state: SchemaState, healthy: bool, blocks_startup: bool) -> None:
    result = schema_check(lambda: state)()

    assert (result.healthy, result.blocks_startup) == (healthy, blocks_startup)


def test_the_two_failures_read_differently() -> None:
    """One needs a migration and the other a newer version; the operator must see which."""
    behind = schema_check(lambda: "behind")().message
    ahead = schema_check(lambda: "ahead")().message

    assert "migration" in behind
    assert "newer" in ahead
