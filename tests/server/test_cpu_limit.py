"""How many workers a container's CPU limit carries."""

from __future__ import annotations

import pytest

from atom_platform.server.cpu_limit import default_workers


@pytest.mark.parametrize(
    ("limit", "workers"), [(None, 2), (0.1, 1), (0.99, 1), (1.0, 2), (2.0, 2), (64.0, 2)]
)
def test_less_than_a_cpu_is_for_one_worker(limit: float | None, workers: int) -> None:
    assert default_workers(limit) == workers
