"""What a readiness check finds is what the rules can read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.prometheus.render import thresholds
from tests.support.polling import wait_until
from tests.support.service import Service, running_service


@pytest.fixture(name="disk", scope="module")
def _disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disk")


@pytest.fixture(name="well", scope="module")
def _well(tmp_path_factory: pytest.TempPathFactory, disk: Path) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("service")
    with running_service(directory, env={"ATOM_DISK_PATH": str(disk)}) as running:
        yield running


def test_an_unhealthy_check_is_unhealthy_in_the_metrics(
    start_service: Callable[..., Service],
) -> None:
    """Readiness said 503 while `health_check_healthy` said 1: no alert would have come."""
    service = start_service(env={"ATOM_DISK_MIN_FREE_GB": "1000000"})

    wait_until(lambda: service.get("/health/ready").status == 503)
    wait_until(lambda: service.samples().get(sample("disk")) == 0)
    wait_until(lambda: service.samples().get(sample("database")) == 1)


def test_free_space_is_measured_where_readiness_looks(well: Service, disk: Path) -> None:
    stat = os.statvfs(disk)

    free = wait_until(lambda: well.sample("disk_free_bytes", path=str(disk)))

    assert free == pytest.approx(stat.f_bavail * stat.f_frsize, rel=0.1)


def test_the_readiness_alert_reads_every_check(well: Service) -> None:
    """It names them: a label that says which are critical does not exist."""
    named = set(thresholds()["critical_checks"])

    wait_until(lambda: checks(well) >= named)

    assert checks(well) == named


def checks(service: Service) -> set[str]:
    """Return the checks that the metrics know."""
    return {
        label
        for name, labels in service.samples()
        if name == "health_check_healthy"
        for _, label in labels
    }


def sample(check: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return "health_check_healthy", frozenset({("check", check)})
