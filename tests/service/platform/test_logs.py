"""Every line that any process of the service prints is one JSON object."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

from tests.support.polling import wait_until
from tests.support.service import Service

FIRST = ["timestamp", "level", "logger", "event"]


def test_boot_requests_reload_and_stop(start_service: Callable[..., Service]) -> None:
    service = start_service()
    old = set(service.workers())
    service.get("/api/v1/agents", headers={"X-Request-ID": "follow-me"})
    service.get("/api/v1/agents/none?token=hunter2", headers={"X-Request-ID": "and-me"})
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(service.workers()) == 2 and not old & set(service.workers()))

    assert service.stop() == 0

    lines = service.log()
    assert lines
    assert all(list(line)[:4] == FIRST for line in lines)
    assert b"hunter2" not in b"".join(service.output)
    (access,) = service.logged("http_request", request_id="follow-me")
    assert access["method"] == "GET"
    assert access["path"] == access["endpoint"] == "/api/v1/agents"
    assert access["status"] == 200
    assert access["duration_ms"] > 0
    assert access["bytes"] > 0
    assert access["remote_addr"] == "127.0.0.1"
    (missing,) = service.logged("http_request", request_id="and-me")
    assert (missing["status"], missing["endpoint"]) == (404, "/api/v1/agents/<agent_id>")
    # Good answers are DEBUG; a 503 while it starts, or a client that gave up, is not.
    assert not service.logged("http_request", path="/health/startup", status=200, level="INFO")


def test_health_requests_are_logged_at_debug(service: Service) -> None:
    service.get("/health/live", headers={"X-Request-ID": "probe-1"})

    (line,) = wait_until(lambda: service.logged("http_request", request_id="probe-1"))

    assert line["level"] == "DEBUG"


def test_traceparent_is_followed(service: Service) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    service.get("/api/v1/skills", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})

    (line,) = wait_until(lambda: service.logged("http_request", trace_id=trace))

    assert len(line["span_id"]) == 16


def test_a_path_cannot_end_a_line(service: Service) -> None:
    """Many a reader takes Unicode's other line ends for ends of lines."""
    path = "/zz%E2%80%A8a%E2%80%A9b%C2%85c"
    before = len(service.output)

    assert service.get(path).status == 404

    wait_until(
        lambda: [line for line in service.output[before:] if b"zz" in line and b'"path"' in line]
    )
    (line,) = [line for line in service.output[before:] if b"zz" in line]
    assert len(line.decode().splitlines()) == 1
    assert json.loads(line)["path"] == "/zz\u2028a\u2029b\x85c"
