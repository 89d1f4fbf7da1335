"""`log-level` reaches every process of a running service, and ends by itself or by `reset`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from atom_platform.server import log_level, pidfile
from tests.polling import free_port, wait_until
from tests.service import Service


def test_all_workers_follow(start_service: Callable[..., Service]) -> None:
    service = start_service(env={"WEB_CONCURRENCY": "2"})

    assert log_level.main(["DEBUG", "--port", str(service.port)]) == 0

    everyone = {service.arbiter, *service.workers()}
    wait_until(lambda: {line["pid"] for line in service.logged("log_levels_changed")} == everyone)
    service.get("/health/live", headers={"X-Request-ID": "now-seen"})
    wait_until(lambda: service.logged("http_request", request_id="now-seen", level="DEBUG"))

    assert log_level.main(["reset", "--port", str(service.port)]) == 0

    wait_until(lambda: len(service.logged("log_levels_changed", root="as started")) == 3)


def test_ends_by_itself(start_service: Callable[..., Service]) -> None:
    service = start_service(env={"WEB_CONCURRENCY": "1"})

    log_level.main(["ERROR", "--for", "1.5", "--port", str(service.port)])

    wait_until(lambda: len(service.logged("log_levels_changed", root="ERROR")) == 2)
    wait_until(lambda: len(service.logged("log_levels_changed", root="as started")) == 2)


def test_says_so_when_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()

    assert log_level.main(["DEBUG", "--port", str(port)]) == 1

    assert f"no service of this user on port {port}" in capsys.readouterr().out


def test_refuses_an_unknown_level(
    start_service: Callable[..., Service], capsys: pytest.CaptureFixture[str]
) -> None:
    service = start_service(env={"WEB_CONCURRENCY": "1"})

    assert log_level.main(["LOUD", "--port", str(service.port)]) == 1

    assert "a level is one of" in capsys.readouterr().out


def test_what_a_killed_service_was_told_is_forgotten(
    start_service: Callable[..., Service],
) -> None:
    service = start_service(env={"WEB_CONCURRENCY": "1"})
    log_level.main(["ERROR", "--port", str(service.port)])
    told = pidfile.levels_path(service.port)
    assert told.exists()
    service.kill()

    start_service(env={"WEB_CONCURRENCY": "1"})

    assert not told.exists()
