"""The guide's endpoints as a client sees them, on both databases."""

from __future__ import annotations

import gzip
import re
import subprocess

import pytest

from tests.support.programs import needs
from tests.support.service import Service

TIMESTAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def test_live(service: Service) -> None:
    answer = service.get("/health/live")

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert list(body) == ["status", "timestamp"]
    assert body["status"] == "alive"
    assert re.fullmatch(TIMESTAMP, body["timestamp"])


def test_ready(service: Service) -> None:
    answer = service.get("/health/ready")

    assert answer.status == 200
    body = answer.json()
    assert list(body) == ["status", "timestamp", "checks"]
    assert body["status"] == "ready"
    assert re.fullmatch(TIMESTAMP, body["timestamp"])
    assert list(body["checks"]) == ["database", "disk"]
    database, disk = body["checks"]["database"], body["checks"]["disk"]
    assert list(database) == ["healthy", "message", "latency_ms"]
    assert database["healthy"] is True
    assert database["message"] == "Database accessible"
    assert 0 <= database["latency_ms"] < 5000
    assert list(disk) == ["healthy", "message", "free_gb"]
    assert disk["healthy"] is True
    assert disk["message"] == f"{disk['free_gb']:.2f}GB free"


def test_startup(service: Service) -> None:
    answer = service.get("/health/startup")

    assert answer.status == 200
    assert list(answer.json())[:2] == ["status", "timestamp"]


@pytest.mark.parametrize("path", ["live", "ready", "startup", "metrics"])
class TestEveryHealthEndpoint:
    def test_is_never_stored(self, service: Service, path: str) -> None:
        assert service.get(f"/health/{path}").headers["Cache-Control"] == "no-store"

    def test_takes_a_trailing_slash(self, service: Service, path: str) -> None:
        assert service.get(f"/health/{path}/").status == 200

    def test_head_has_the_headers_and_no_body(self, service: Service, path: str) -> None:
        head, got = (service.request(method, f"/health/{path}") for method in ("HEAD", "GET"))

        assert head.status == 200
        assert head.body == b""
        assert head.headers["Content-Type"] == got.headers["Content-Type"]

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "BREW"])
    def test_refuses_other_methods(self, service: Service, path: str, method: str) -> None:
        answer = service.request(method, f"/health/{path}")

        assert answer.status == 405
        assert {"GET", "HEAD"} <= set(re.split(r",\s*", answer.headers["Allow"]))


def test_metrics_pass_promtool(service: Service) -> None:
    promtool = needs("promtool", package="prometheus")

    text = service.get("/health/metrics").body

    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_metrics_are_zipped_when_asked(service: Service) -> None:
    answer = service.get("/health/metrics", headers={"Accept-Encoding": "gzip"})

    assert answer.headers["Content-Encoding"] == "gzip"
    assert b"http_requests_total" in gzip.decompress(answer.body)


def test_metrics_speak_openmetrics_when_asked(service: Service) -> None:
    answer = service.get(
        "/health/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"}
    )

    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    "accept", ["text/plain;version=abc", "*/*;q=x", ",;,=", "é".encode("latin-1")]
)
def test_metrics_survive_any_accept(service: Service, accept: str | bytes) -> None:
    answer = service.get("/health/metrics", headers={"Accept": accept})

    assert answer.status == 200
    assert b"# TYPE http_requests_total counter" in answer.body


def test_metrics_can_be_filtered(service: Service) -> None:
    answer = service.get("/health/metrics?name[]=active_agents")

    assert re.findall(rb"^[a-z_]+", answer.body, re.M) == [b"active_agents"]


GUIDE = {
    "http_requests_total": "counter",
    "http_request_duration_seconds": "histogram",
    "agent_executions_total": "counter",
    "agent_execution_duration_seconds": "histogram",
    "active_agents": "gauge",
    "skill_executions_total": "counter",
    "skill_execution_duration_seconds": "histogram",
    "db_query_duration_seconds": "histogram",
    "db_connections_active": "gauge",
    "db_connections_idle": "gauge",
}


@pytest.mark.parametrize("family", GUIDE)
def test_every_family_of_the_guide_is_declared(service: Service, family: str) -> None:
    text = service.get("/health/metrics").body.decode()

    assert f"# TYPE {family} {GUIDE[family]}\n" in text
    assert re.search(rf"^# HELP {family} \S", text, re.M)


def test_request_id_is_taken_or_made(service: Service) -> None:
    assert (
        service.get("/health/live", headers={"X-Request-ID": "abc-1.2_3"}).headers["X-Request-ID"]
        == "abc-1.2_3"
    )
    made = service.get("/api/v1/agents", headers={"X-Request-ID": 'bad"id'}).headers["X-Request-ID"]
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", made)
