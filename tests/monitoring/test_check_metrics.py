"""What a readiness check finds is what the rules can read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.prometheus.render import thresholds
from tests.polling import wait_until
from tests.service import Service


def test_an_unhealthy_check_is_unhealthy_in_the_metrics(
    start_service: Callable[..., Service],
) -> None:
    """Readiness said 503 while `health_check_healthy` said 1: no alert would have come."""
    service = start_service(env={"ATOM_DISK_MIN_FREE_GB": "1000000"})

    assert wait_until(lambda: service.get("/health/ready").status == 503)
    wait_until(lambda: service.samples().get(sample("disk")) == 0)
    assert service.samples()[sample("database")] == 1


def test_free_space_is_measured_where_readiness_looks(
    start_service: Callable[..., Service], tmp_path: Path
) -> None:
    service = start_service(env={"ATOM_DISK_PATH": str(tmp_path)})
    stat = os.statvfs(tmp_path)

    free = wait_until(lambda: service.sample("disk_free_bytes", path=str(tmp_path)))

    assert free == pytest.approx(stat.f_bavail * stat.f_frsize, rel=0.1)


def test_the_readiness_alert_reads_every_check(start_service: Callable[..., Service]) -> None:
    """It names them: a label that says which are critical does not exist."""
    service = start_service()

    found = wait_until(
        lambda: {
            label
            for name, labels in service.samples()
            if name == "health_check_healthy"
            for _, label in labels
        }
    )

    assert found == set(thresholds()["critical_checks"])


def sample(check: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return "health_check_healthy", frozenset({("check", check)})
