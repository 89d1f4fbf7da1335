"""A registry that is stopped with its test, together with its threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from atom_platform.health.registry import HealthRegistry
from tests.support.polling import wait_until
from tests.unit.health.parts import Hanging, health_threads


@pytest.fixture(name="make_registry")
def _make_registry() -> Iterator[Callable[..., HealthRegistry]]:
    """Return a function that makes a registry; every thread of all of them ends with the test."""
    made: list[HealthRegistry] = []

    def make(**kwargs: Any) -> HealthRegistry:
        made.append(HealthRegistry(**{"period_seconds": 0.05, **kwargs}))
        return made[-1]

    yield make
    for registry in made:
        registry.stop()
    wait_until(lambda: not health_threads())


@pytest.fixture(name="registry")
def _registry(make_registry: Callable[..., HealthRegistry]) -> HealthRegistry:
    return make_registry()


@pytest.fixture(name="hanging")
def _hanging(make_registry: object) -> Iterator[Hanging]:
    """A check that blocks until the test releases it, at the latest at the end of the test."""
    check = Hanging()
    yield check
    check.release()


@pytest.fixture(name="closing")
def _closing(make_registry: object) -> Iterator[Hanging]:
    """A `cancel` that blocks until the end of the test."""
    close = Hanging()
    yield close
    close.release()
