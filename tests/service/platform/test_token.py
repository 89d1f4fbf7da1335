"""The token: metrics and checks for its bearer, and the rest for everybody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.deploy.test_access import scrape_config
from tests.service.platform.asking import command
from tests.support.polling import wait_until
from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.service import Service, running_service
from tests.support.stalls import scaled

TOKEN = "4f1d-hush-hush-4f1d"
NEW_TOKEN = "e2c7-whisper-e2c7"


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@contextmanager
def running_prometheus(directory: Path, config: Mapping[str, Any]) -> Iterator[Callable[..., Any]]:
    """Yield what returns the targets of jobs once all of them have been scraped, else nothing."""
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"

    def targets(*jobs: str) -> list[Any]:
        try:
            with urllib.request.urlopen(
                f"http://{address}/api/v1/targets", timeout=scaled(20)
            ) as answer:
                active = json.load(answer)["data"]["activeTargets"]
        except OSError:
            return []
        found = {each["labels"]["job"]: each for each in active if each["health"] != "unknown"}
        return [found[job] for job in jobs] if found.keys() >= set(jobs) else []

    with (directory / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                needs("prometheus", package="prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield targets
    finally:
        process.terminate()
        try:
            process.wait(scaled(20))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(scaled(20))


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("secrets") / "token"
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, token_file: Path) -> Iterator[Service]:
    env = {
        "ATOM_METRICS_TOKEN_FILE": str(token_file),
        "ATOM_LOG_LEVEL": "DEBUG",
        "WEB_CONCURRENCY": "1",
    }
    with running_service(tmp_path_factory.mktemp("service"), env=env) as running:
        yield running


@pytest.fixture
def bearer(token_file: Path) -> dict[str, str]:
    """The headers of whoever has the token of the moment: a test changes it."""
    return bearing(token_file.read_text().strip())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_metrics_are_for_its_bearer(service: Service, bearer: dict[str, str], method: str) -> None:
    refused = service.request(method, "/health/metrics")
    shown = service.request(method, "/health/metrics", headers=bearer)

    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"].split()[0] == "Bearer"
    assert refused.headers["Cache-Control"] == "no-store"
    assert "http_requests_total" not in refused.body.decode()
    assert shown.status == 200


@pytest.mark.parametrize("headers", [{}, bearing(f"{TOKEN}x")], ids=["none", "a wrong one"])
@pytest.mark.parametrize("path", ["/health/ready", "/health/ready/", "/health/ready?verbose"])
def test_readiness_alone_is_everybodys(
    service: Service, path: str, headers: dict[str, str]
) -> None:
    answer = service.get(path, headers=headers)

    assert answer.status == 200
    assert list(answer.json()) == ["status", "timestamp"]
    assert answer.json()["status"] == "ready"


def test_its_checks_are_for_the_bearer(service: Service, bearer: dict[str, str]) -> None:
    plain = service.get("/health/ready", headers=bearer).json()["checks"]["database"]
    verbose = service.get("/health/ready?verbose", headers=bearer).json()["checks"]["database"]

    assert "latency_ms" in plain
    assert "consecutive_failures" in verbose


@pytest.mark.parametrize("path", ["/health/live", "/health/startup", "/api/v1/agents"])
def test_the_rest_needs_none(service: Service, path: str) -> None:
    assert service.get(path).status == 200


@pytest.mark.parametrize("header", ["SCRIPT_NAME", "PATH_INFO"])
def test_no_header_moves_what_is_asked_for(
    service: Service, bearer: dict[str, str], header: str
) -> None:
    """A proxy that publishes /api alone, and hands on what its clients send, is trusted here."""
    moving = {**bearer, header: "/api"}

    assert service.get("/api/health/metrics", headers=moving).status == 404
    assert service.get("/health/live", headers=moving).status == 200


def test_our_own_commands_find_it_and_show_it_to_nobody(service: Service) -> None:
    doctor, settings = command(service, "doctor", "--json"), command(service, "settings")
    codes = {each["code"] for each in json.loads(doctor.stdout)["findings"]}

    assert {"metrics-complete", "requests-counted", "ready"} <= codes
    assert not {"metrics-guarded", "checks-guarded"} & codes
    assert "ATOM_METRICS_TOKEN=[redacted]" in settings.stdout.split("\n")
    assert command(service, "probe", "ready").returncode == 0
    for token in (TOKEN, NEW_TOKEN):
        assert token not in doctor.stdout + doctor.stderr + settings.stdout + settings.stderr


def test_no_line_of_the_log_holds_it(service: Service, bearer: dict[str, str]) -> None:
    token = bearer["Authorization"].removeprefix("Bearer ")
    service.get("/health/metrics", headers={"Authorization": f"Basic {token}"})
    service.get("/health/metrics", headers={**bearer, "X-Request-ID": "the-last"})

    wait_until(lambda: service.logged("http_request", request_id="the-last"), seconds=60)

    assert service.logged("http_request", path="/health/metrics", status=401)
    assert token not in b"".join(service.output).decode()


def test_prometheus_scrapes_as_the_document_says(
    service: Service, token_file: Path, tmp_path: Path
) -> None:
    """Beside a job that lacks the token, so that the check could fail."""
    text = scrape_config("token").replace("/etc/prometheus/atom-metrics-token", str(token_file))
    config = yaml.safe_load(text.replace("service:8000", f"127.0.0.1:{service.port}"))
    (job,) = config["scrape_configs"]
    without = {key: job[key] for key in ("metrics_path", "static_configs")}
    config["scrape_configs"].append({"job_name": "without", **without})
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s"}

    def as_promised() -> bool:
        found = targets("atom-platform", "without")  # on a loaded machine a scrape may time out
        return bool(found) and found[0]["health"] == "up" and "401" in found[1]["lastError"]

    with running_prometheus(tmp_path, config) as targets:
        wait_until(as_promised, seconds=60)


def test_a_new_token_is_taken_by_new_workers(service: Service, token_file: Path) -> None:
    """A mounted secret changes under the service, which is then told to look."""
    before = set(service.workers())
    token_file.write_text(NEW_TOKEN)

    os.kill(service.arbiter, signal.SIGHUP)
    wait_until(lambda: before.isdisjoint(service.workers() or before), seconds=60)
    wait_until(lambda: service.get("/health/startup").status == 200, seconds=60)

    assert service.get("/health/metrics", headers=bearing(NEW_TOKEN)).status == 200
    assert service.get("/health/metrics", headers=bearing(TOKEN)).status == 401
