"""`log-level` changes every process of a running service, until its end or a reset."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from atom_platform.cli import main
from atom_platform.server import pidfile
from tests.support.polling import wait_until
from tests.support.ports import free_port
from tests.support.service import Service


def test_all_processes_change_their_level(start_service: Callable[..., Service]) -> None:
    service = start_service(env={"WEB_CONCURRENCY": "2"})

    assert main(["log-level", "DEBUG", "--port", str(service.port)]) == 0

    everyone = {service.arbiter, *service.workers()}
    wait_until(lambda: {line["pid"] for line in service.logged("log_levels_changed")} == everyone)
    service.get("/health/live", headers={"X-Request-ID": "now-seen"})
    wait_until(lambda: service.logged("http_request", request_id="now-seen", level="DEBUG"))

    assert main(["log-level", "reset", "--port", str(service.port)]) == 0

    wait_until(lambda: len(service.logged("log_levels_changed", root="as started")) == 3)


def test_the_change_ends_by_itself(start_service: Callable[..., Service]) -> None:
    service = start_service(env={"WEB_CONCURRENCY": "1"})

    main(["log-level", "ERROR", "--for", "1.5", "--port", str(service.port)])

    wait_until(lambda: len(service.logged("log_levels_changed", root="ERROR")) == 2)
    wait_until(lambda: len(service.logged("log_levels_changed", root="as started")) == 2)


def test_reports_a_port_without_a_service(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()

    assert main(["log-level", "DEBUG", "--port", str(port)]) == 1

    assert f"no service of this user on port {port}" in capsys.readouterr().out


def test_an_unknown_level_is_refused(
    start_service: Callable[..., Service], capsys: pytest.CaptureFixture[str]
) -> None:
    service = start_service(env={"WEB_CONCURRENCY": "1"})

    assert main(["log-level", "LOUD", "--port", str(service.port)]) == 1

    assert "a level is one of" in capsys.readouterr().out


def test_a_new_service_ignores_the_level_of_a_killed_one(
    start_service: Callable[..., Service],
) -> None:
    service = start_service(env={"WEB_CONCURRENCY": "1"})
    main(["log-level", "ERROR", "--port", str(service.port)])
    told = pidfile.levels_path(service.port)
    assert told.exists()
    service.kill()

    start_service(env={"WEB_CONCURRENCY": "1"})

    assert not told.exists()
