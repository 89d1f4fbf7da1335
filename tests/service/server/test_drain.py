"""The drain: readiness is 503 first, the service stops later, and no request fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atom_platform.server import pidfile
from tests.service.server.conftest import APPLICATION
from tests.support.load import connected, under_load
from tests.support.polling import wait_until
from tests.support.service import ROOT, Service, clean_environment
from tests.support.stalls import scaled

Serve = Callable[..., Service]

WORKERS = [
    pytest.param([], id="probe-thread-worker"),
    pytest.param(["--worker-class", "gthread"], id="gthread"),
    pytest.param(["--worker-class", "sync", "--threads", "1"], id="sync"),
]


def is_draining(service: Service) -> bool:
    answer = service.get("/health/ready")
    return answer.status == 503 and answer.json()["status"] == "draining"


def seconds_to_end(service: Service, since: float) -> float:
    assert service.process.wait(scaled(30)) == 0
    return time.monotonic() - since


def probe_drain(service: Service) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "atom_platform", "probe", "drain"],
        cwd=ROOT,
        env={**clean_environment(), "PORT": str(service.port)},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("args", WORKERS)
def test_sigterm_drains_and_no_request_fails(serve: Serve, args: list[str]) -> None:
    """The load ends when readiness is 503, as that of a load balancer does."""
    service = serve(args=args, env={"ATOM_DRAIN_SECONDS": "2"})
    with under_load(service, "/sleep/0.02", clients=6) as load:
        wait_until(lambda: load.answers[200] > 30)
        began = time.monotonic()
        os.kill(service.arbiter, signal.SIGTERM)
        wait_until(lambda: is_draining(service), seconds=5)
        noticed = time.monotonic() - began
        wait_until(lambda: time.monotonic() - began > 1.2)

    assert noticed < scaled(1.2)
    assert seconds_to_end(service, began) >= 2
    assert set(load.answers) == {200}
    assert not load.failures


@pytest.mark.parametrize("args", WORKERS[:2])
def test_responses_close_the_connection_during_a_drain(serve: Serve, args: list[str]) -> None:
    """In the loop and in threads; clients reconnect to another instance. (sync keeps none.)"""
    service = serve(args=args, env={"ATOM_DRAIN_SECONDS": "30", "WEB_CONCURRENCY": "1"})
    paths = ("/health/live", "/health/ready", "/pid")
    with connected(service, len(paths)) as clients:
        for client in clients:
            assert client.ask("/pid").headers["connection"] == "keep-alive"
        os.kill(service.arbiter, signal.SIGTERM)
        wait_until(lambda: is_draining(service))

        replies = [client.ask(path) for client, path in zip(clients, paths, strict=True)]

        assert [reply.headers["connection"] for reply in replies] == ["close"] * 3
        assert all(client.is_closed() for client in clients)


def test_a_connection_made_before_the_end_of_the_drain_is_answered(serve: Serve) -> None:
    drain = round(scaled(2), 1)
    service = serve(env={"ATOM_DRAIN_SECONDS": str(drain)})
    os.kill(service.arbiter, signal.SIGTERM)
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 0.85 * drain, seconds=2 * drain)
    with connected(service, 6) as clients:
        wait_until(lambda: service.logged("drain_finished"), seconds=2 * drain)
        time.sleep(0.5)

        assert [client.ask("/pid").status for client in clients] == [200] * 6

    assert seconds_to_end(service, began) < drain + scaled(3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_at_once(serve: Serve, number: signal.Signals) -> None:
    service = serve(env={"ATOM_DRAIN_SECONDS": "60"})
    os.kill(service.arbiter, signal.SIGTERM)
    wait_until(lambda: is_draining(service))

    began = time.monotonic()
    os.kill(service.arbiter, number)

    assert seconds_to_end(service, began) < scaled(10)


def test_probe_drain_waits_and_the_sigterm_after_it_does_not(serve: Serve) -> None:
    """As kubelet does it: preStop first, SIGTERM when that has returned."""
    service = serve(env={"ATOM_DRAIN_SECONDS": "6"})
    began = time.monotonic()
    probe = probe_drain(service)

    wait_until(lambda: is_draining(service))
    assert service.get("/pid").status == 200
    assert probe.communicate(timeout=scaled(30))[0] == "drain: over\n"
    waited = time.monotonic() - began
    assert probe.returncode == 0
    assert waited >= 6
    assert is_draining(service)
    began = time.monotonic()
    os.kill(service.arbiter, signal.SIGTERM)

    assert seconds_to_end(service, began) < scaled(5.9)


def test_a_sigterm_during_probe_drain_waits_for_the_rest(serve: Serve) -> None:
    """The drain counts from its first request."""
    service = serve(env={"ATOM_DRAIN_SECONDS": "3"})
    began = time.monotonic()
    probe = probe_drain(service)
    wait_until(lambda: is_draining(service))
    os.kill(service.arbiter, signal.SIGTERM)

    taken = seconds_to_end(service, began)

    assert 3 <= taken < scaled(12)
    assert probe.communicate(timeout=scaled(20))[0] in (
        "drain: over\n",
        "drain: the service has ended\n",
    )
    assert probe.returncode == 0


def test_probe_drain_without_a_drain_time_returns_at_once(serve: Serve) -> None:
    service = serve()
    probe = probe_drain(service)

    assert probe.wait(scaled(10)) == 0
    wait_until(lambda: is_draining(service))
    probe.communicate()


def test_a_drain_survives_a_reload(serve: Serve) -> None:
    """Workers that start during it drain too, and it ends in time."""
    service = serve(env={"ATOM_DRAIN_SECONDS": "5"})
    before = set(service.workers())
    began = time.monotonic()
    os.kill(service.arbiter, signal.SIGTERM)
    os.kill(service.arbiter, signal.SIGHUP)

    wait_until(lambda: service.workers() and not before & set(service.workers()))

    assert is_draining(service)
    assert seconds_to_end(service, began) >= 5


def announced_pid(service: Service) -> int | None:
    arbiter = pidfile.find(service.port)
    return arbiter.pid if arbiter else None


@pytest.fixture(name="reexecutable")
def _reexecutable(tmp_path: Path) -> Iterator[Service]:
    """Started by its script: re-executed from `-m`, gunicorn's own modules would hide Python's."""
    service = Service(tmp_path, app=APPLICATION, env={"ATOM_DRAIN_SECONDS": "60"})
    service._command[:3] = [str(Path(sys.executable).with_name("gunicorn"))]
    try:
        service.start()
        yield service
    finally:
        if successor := announced_pid(service):
            os.kill(successor, signal.SIGINT)
            wait_until(lambda: announced_pid(service) is None)
        service.kill()


def test_an_arbiter_that_is_being_replaced_does_not_drain(reexecutable: Service) -> None:
    """After SIGUSR2 the new arbiter serves on the same port, so readiness stays 200."""
    service = reexecutable
    answered = service.total("http_requests_total", endpoint="/health/startup")
    os.kill(service.arbiter, signal.SIGUSR2)
    wait_until(lambda: announced_pid(service) not in (None, service.arbiter))
    wait_until(lambda: service.sample("gunicorn_workers") == 4)

    began = time.monotonic()
    os.kill(service.arbiter, signal.SIGTERM)

    assert seconds_to_end(service, began) < scaled(20)
    assert service.get("/health/ready").status == 200
    assert announced_pid(service) not in (None, service.arbiter)
    assert service.total("http_requests_total", endpoint="/health/startup") == answered
