"""check_service finds the errors of a running service."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from atom_platform.settings import Settings
from atom_platform.tools import service_client
from atom_platform.tools.doctor import service
from atom_platform.tools.doctor.directories import check_metrics
from atom_platform.tools.doctor.service import check_service
from tests.support.doctor_parts import codes, one
from tests.support.ports import free_port
from tests.support.service import Service, running_service
from tests.support.stalls import scaled

LIVE = json.dumps({"status": "alive"})
READY = json.dumps({"status": "ready", "checks": {}})


class Canned(BaseHTTPRequestHandler):
    """Answers each path as the test says."""

    answers: ClassVar[dict[str, tuple[int, str]]] = {}

    def do_GET(self) -> None:
        status, text = self.answers.get(self.path.partition("?")[0], (404, ""))
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(name="serve")
def _serve() -> Iterator[Callable[..., str]]:
    """Return a function that serves answers by path, and returns the URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Canned)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()

    def serve(**answers: tuple[int, str]) -> str:
        good = {
            "live": (200, LIVE),
            "ready": (200, READY),
            "startup": (200, "{}"),
            "metrics": (200, ""),
        }
        Canned.answers = {f"/health/{name}": each for name, each in (good | answers).items()}
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    server.shutdown()
    thread.join(scaled(10))
    server.server_close()


@pytest.fixture(name="well", scope="module")
def _well(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("doctor")) as running:
        yield running


def test_a_healthy_service_has_no_errors(well: Service) -> None:
    findings = list(check_service(f"http://127.0.0.1:{well.port}", expected=True))

    assert codes(findings, "error") == set(), findings
    assert {"started", "ready", "metrics-complete", "requests-counted"} <= codes(findings, "ok")


def test_its_private_metrics_directory_is_found(well: Service) -> None:
    """The operator need not know where the service created it."""
    findings = list(check_metrics(Settings(port=well.port)))

    assert codes(findings, "warning", "error") == set(), findings
    assert "atom-metrics-" in one(findings, "directory-space").what
    assert not one(findings, "samples").what.startswith("0 ")


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    sick = Service(tmp_path, env={"ATOM_DISK_MIN_FREE_GB": "1000000"})
    try:
        sick.start()

        findings = list(check_service(f"http://127.0.0.1:{sick.port}", expected=True))

        finding = one(findings, "check-unhealthy")
        assert finding.severity == "error"
        assert finding.what.startswith("disk: ")
        assert "last success never" in finding.what
        assert "du -xh" in finding.do
    finally:
        sick.kill()


class TestAbsence:
    def test_is_a_note_for_the_default_address(self) -> None:
        (finding,) = check_service(f"http://127.0.0.1:{free_port()}", expected=False)

        assert (finding.severity, finding.code) == ("note", "service-absent")

    def test_is_an_error_for_a_given_address(self) -> None:
        (finding,) = check_service(f"http://127.0.0.1:{free_port()}", expected=True)

        assert (finding.severity, finding.code) == ("error", "service-unreachable")
        assert "Connection refused" in finding.what

    def test_of_an_answer_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(service_client, "TIMEOUT_SECONDS", 0.2)
        with ThreadingHTTPServer(("127.0.0.1", 0), Canned) as silent:  # takes, and never serves
            (finding,) = check_service(f"http://127.0.0.1:{silent.server_port}", expected=False)

        assert finding.code == "service-unreachable"
        assert "no answer within 0.2 s" in finding.what


@pytest.mark.parametrize("url", ["ftp://host", "localhost:8000", "http://", ""])
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="http://"):
        list(check_service(url, expected=True))


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        pytest.param({"live": (502, "")}, "live-wrong", id="a-proxy-in-front"),
        pytest.param({"startup": (503, '{"message": "Worker is loading"}')}, "not-started"),
        pytest.param({"ready": (200, "<html>")}, "ready-wrong"),
        pytest.param({"ready": (500, READY)}, "ready-wrong"),
        pytest.param({"metrics": (500, "")}, "metrics-wrong"),
        pytest.param({"metrics": (200, "")}, "metrics-empty"),
        pytest.param({"metrics": (200, "<html>")}, "metrics-unreadable"),
        pytest.param({"metrics": (200, "# TYPE up gauge\nup 1\n")}, "metrics-incomplete"),
        pytest.param({"metrics": (200, "# TYPE up gauge\nup 1\n")}, "requests-not-counted"),
    ],
)
def test_wrong_answers_are_errors(
    serve: Callable[..., str], answers: dict[str, tuple[int, str]], code: str
) -> None:
    assert code in codes(check_service(serve(**answers), expected=True), "error")


def test_unhealthy_checks_come_with_advice(serve: Callable[..., str]) -> None:
    checks = {
        "database": {
            "healthy": False,
            "message": "Database timeout after 5.0s",
            "critical": True,
            "code": "timeout",
        },
        "mail": {"healthy": False, "message": "Mail check failed", "critical": False},
        "disk": {"healthy": True, "message": "10.50GB free"},
    }
    body = json.dumps({"status": "not_ready", "checks": checks})

    findings = list(check_service(serve(ready=(503, body)), expected=True))

    told = {f.what.partition(":")[0]: f for f in findings if f.code == "check-unhealthy"}
    assert {name: f.severity for name, f in told.items()} == {
        "database": "error",
        "mail": "warning",
    }
    assert "locks and load" in told["database"].do


def test_draining_is_no_error(serve: Callable[..., str]) -> None:
    body = json.dumps({"status": "draining", "checks": {}})

    assert "draining" in codes(check_service(serve(ready=(503, body)), expected=True), "note")


def test_guarded_checks_are_no_error(serve: Callable[..., str]) -> None:
    findings = list(check_service(serve(ready=(503, '{"status": "not_ready"}')), expected=True))

    assert "checks-guarded" in codes(findings, "note")
    assert "ready-wrong" not in codes(findings)


def test_guarded_metrics_are_no_error(serve: Callable[..., str]) -> None:
    findings = list(check_service(serve(metrics=(401, "")), expected=True))

    assert "metrics-guarded" in codes(findings, "note")
    assert codes(findings, "error") == set()


def test_latency_is_compared_with_the_guide(
    serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = serve()
    for targets, severity in (
        ((10_000, 10_000, 10_000), "ok"),
        ((0, 10_000, 10_000), "note"),
        ((0, 0, 10_000), "warning"),
        ((0, 0, 0), "error"),
    ):
        monkeypatch.setattr(service, "TARGETS_MS", {"/health/live": targets})

        assert one(check_service(url, expected=True), "latency-live").severity == severity


SICK = """\
# TYPE metric_errors_total counter
metric_errors_total{kind="write"} 3
# TYPE metric_label_overflows_total counter
metric_label_overflows_total{metric="agent_executions"} 0
# TYPE db_connections_active gauge
db_connections_active 10
# TYPE db_connections_max gauge
db_connections_max 10
# TYPE gunicorn_threads gauge
gunicorn_threads 8
# TYPE gunicorn_threads_busy gauge
gunicorn_threads_busy 8
# TYPE gunicorn_worker_exits_total counter
gunicorn_worker_exits_total{reason="recycled"} 7
gunicorn_worker_exits_total{reason="killed"} 1
"""


def test_a_scrape_shows_saturation_and_errors(serve: Callable[..., str]) -> None:
    findings = list(check_service(serve(metrics=(200, SICK)), expected=True))

    assert codes(findings, "warning") == {"metric-errors-total", "pool-exhausted", "workers-died"}
    assert "threads-busy" in codes(findings, "note")
    assert one(findings, "workers-died").what.startswith("1 workers")
