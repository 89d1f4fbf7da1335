"""The management port: metrics and checks there, the API elsewhere, whatever serves them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.service.platform.asking import ask, command
from tests.support.polling import wait_until
from tests.support.ports import free_port
from tests.support.service import ROOT, Service
from tests.support.stalls import scaled
from tests.support.upgrade import upgradable, upgraded


def check_ports(service: Service, management: int) -> None:
    """Assert what each of the two ports of *service* answers."""
    foreign_headers = {"Host": f"localhost:{management}", "X-Forwarded-Port": str(management)}
    for headers in ({}, foreign_headers):
        assert ask(service.port, "/health/metrics", headers=headers).status == 404
        ready = ask(service.port, "/health/ready?verbose", headers=headers)
        assert (ready.status, list(ready.json())) == (200, ["status", "timestamp"])
    assert ask(service.port, "/health/metrics", method="HEAD").status == 404
    assert ask(service.port, "/api/v1/agents").status == 200

    scrape = ask(management, "/health/metrics", headers={"Host": f"localhost:{service.port}"})
    assert scrape.status == 200
    assert b"http_requests_total" in scrape.body
    assert ask(management, "/health/ready").json()["checks"]["database"]["healthy"] is True
    for path in ("/api/v1/agents", "/api/docs", "/api/openapi.json", "/nothing"):
        assert ask(management, path).status == 404
    problem = ask(management, "/api/v1/agents", method="POST")
    assert problem.status == 404
    assert problem.headers["Content-Type"] == "application/problem+json"
    for port in (service.port, management):
        assert ask(port, "/health/live").json()["status"] == "alive"
        assert ask(port, "/health/startup").status == 200


@pytest.fixture(scope="module")
def management() -> int:
    return free_port()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, management: int) -> Iterator[Service]:
    env = {"ATOM_MANAGEMENT_PORT": str(management), "WEB_CONCURRENCY": "1"}
    with upgradable(tmp_path_factory.mktemp("service"), env=env) as running:
        yield running


def test_each_port_answers_for_its_own(service: Service, management: int) -> None:
    check_ports(service, management)


def test_our_own_commands_find_it(service: Service) -> None:
    doctor = command(service, "doctor", "--json")
    codes = {each["code"] for each in json.loads(doctor.stdout)["findings"]}

    assert {"metrics-complete", "requests-counted", "ready"} <= codes
    assert command(service, "probe", "ready").returncode == 0


def test_a_reload_keeps_both_open(service: Service, management: int) -> None:
    """Were the addresses others than before, gunicorn would close both and open them anew."""
    before = set(service.workers())
    opened = openings(service)

    os.kill(service.arbiter, signal.SIGHUP)
    wait_until(lambda: before.isdisjoint(service.workers() or before), seconds=60)

    check_ports(service, management)
    assert openings(service) == opened


def openings(service: Service) -> int:
    return sum(line["event"].startswith("Listening at") for line in service.log())


def test_a_successor_takes_both_over(service: Service, management: int) -> None:
    with upgraded(service) as successor:
        assert listening(successor) == {service.port, management}
        check_ports(service, management)


def listening(process: psutil.Process) -> set[int]:
    """Return the ports that *process* has open."""
    connections = process.net_connections("tcp")
    return {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        (["--worker-class", "gthread", "--bind", "127.0.0.1:{port}"], ""),
        (["--worker-class", "sync", "--threads", "1"], "--bind 127.0.0.1:{port}"),
    ],
    ids=["gthread, told by flag", "sync, told by environment"],
)
def test_gunicorns_own_workers_and_addresses(
    tmp_path: Path, arguments: list[str], variable: str
) -> None:
    main, management = free_port(), free_port()
    env = {
        "ATOM_MANAGEMENT_PORT": str(management),
        "GUNICORN_CMD_ARGS": variable.format(port=main),
        "PORT": "1",  # overruled
        "WEB_CONCURRENCY": "1",
    }
    service = Service(tmp_path, env=env, args=[each.format(port=main) for each in arguments])
    service.port = main
    try:
        service.start()

        assert listening(psutil.Process(service.arbiter)) == {main, management}
        check_ports(service, management)
    finally:
        service.kill()


def test_one_port_for_both_stops_the_start_with_one_line(tmp_path: Path) -> None:
    port = str(free_port())
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "wsgi:app"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PORT": port, "ATOM_MANAGEMENT_PORT": port},
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )

    assert done.returncode != 0
    assert "ATOM_MANAGEMENT_PORT must be another port" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
