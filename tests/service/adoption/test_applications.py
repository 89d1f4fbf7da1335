"""
Two applications from PyPI that we did not write: with us they answer as without, and are counted.

Each runs twice, bare under plain gunicorn and monitored under our configuration, in an environment
that has no more of our requirements than `pip install atom-platform` brings.
"""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from atom_platform.server.config import configuration_file
from tests.service.adoption.adopted import Adopted, python_of_others
from tests.support.polling import wait_until
from tests.support.redis import RedisServer
from tests.support.service import Answer
from tests.support.stalls import scaled

HTTPBIN = "from httpbin import app\n"
RQ_DASHBOARD = """
import os
from rq_dashboard.cli import make_flask_app
from rq_dashboard.web import setup_rq_connection

app = make_flask_app(None, None, None, "")
app.config["RQ_DASHBOARD_REDIS_URL"] = [os.environ["REDIS_URL"]] * 2
setup_rq_connection(app)
"""
MONITORED = """
import os
from atom_platform.checks import redis_check
from atom_platform.monitoring import Monitoring

monitoring = Monitoring(app)
if "REDIS_URL" in os.environ:
    monitoring.check("redis", redis_check(os.environ["REDIS_URL"]), timeout_seconds=30)
"""

#: What no two answers have in common, and what we add.
NOT_COMPARED = {"date", "connection", "x-request-id"}


@dataclass(frozen=True)
class Request:
    """One request, and the rule that it is to be counted under."""

    rule: str
    path: str
    method: str = "GET"
    body: bytes | None = None
    headers: Mapping[str, str] | None = None


FORM = "application/x-www-form-urlencoded"
TO_HTTPBIN = [
    Request("/get", "/get?a=1&a=2&b=%C3%A4"),
    Request("/get", "/get", "HEAD"),
    Request("/get", "/get", "OPTIONS"),
    Request("/get", "/get", "DELETE"),
    Request("/headers", "/headers", headers={"X-Own": "yes", "Cookie": "a=b"}),
    Request(
        "/post", "/post", "POST", b"a=1&b=2", {"Content-Type": "multipart/form-data; boundary=x"}
    ),
    Request("/anything/<path:anything>", "/anything/a/b", "PUT", b'{"a": [1, null]}'),
    Request("/patch", "/patch", "PATCH", b"\x00\xff" * 70_000),
    Request("/delete", "/delete", "DELETE"),
    Request("/status/<codes>", "/status/418"),
    Request("/status/<codes>", "/status/500"),
    Request("/status/<codes>", "/status/204"),
    Request("/redirect/<int:n>", "/redirect/3"),
    Request("/basic-auth/<user>/<passwd>", "/basic-auth/u/p"),
    Request("/cookies/set", "/cookies/set?name=value"),
    Request("/gzip", "/gzip"),
    Request("/stream/<int:n>", "/stream/5"),
    Request("/stream-bytes/<int:n>", "/stream-bytes/100000?seed=7&chunk_size=1000"),
    Request("/range/<int:numbytes>", "/range/64", headers={"Range": "bytes=10-19"}),
    Request("/etag/<etag>", "/etag/x", headers={"If-None-Match": "x"}),
    Request("/drip", "/drip?duration=0&numbytes=5&code=200"),
    Request("/image/png", "/image/png"),
    Request("/encoding/utf8", "/encoding/utf8"),
    Request("/forms/post", "/forms/post"),
    Request("/static/<path:filename>", "/static/favicon.ico"),
    Request("unmatched", "/no/such/page"),
    Request("/get", "//get"),
]
TO_RQ_DASHBOARD = [
    Request("/", "/"),
    Request("/<int:instance_number>/view/queues", "/1/view/queues"),
    Request("/<int:instance_number>/view/workers", "/1/view/workers"),
    Request("/<int:instance_number>/view/job/<job_id>", "/1/view/job/none"),
    Request("/<int:instance_number>/data/queues.json", "/1/data/queues.json"),
    Request("/<int:instance_number>/data/workers.json", "/1/data/workers.json"),
    Request("/<int:instance_number>/", "/1"),
    Request("/job/<job_id>/delete", "/job/none/delete"),
    Request("unmatched", "/health"),
]


@pytest.fixture(name="redis_url", scope="module")
def _redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    try:
        yield server.url
    finally:
        server.kill()


@contextlib.contextmanager
def bare_and_monitored(
    directory: Path, source: str, **env: str
) -> Iterator[tuple[Adopted, Adopted]]:
    """Run the application twice, and wait until both answer."""
    python = python_of_others()
    sources = {"bare": source, "monitored": source + MONITORED}
    services = []
    with contextlib.ExitStack() as stack:
        for name, text in sources.items():
            folder = directory / name
            folder.mkdir()
            (folder / "application.py").write_text(text)
            if name == "monitored":
                (folder / "gunicorn.conf.py").write_text(configuration_file())
            service = Adopted(
                folder,
                ("-m", "gunicorn", "application:app", "--bind", "127.0.0.1:{port}"),
                python=python,
                env={"PYTHONHASHSEED": "0", **env},  # Flask puts a set into `Allow`
            )
            stack.callback(service.kill)
            service.start(wait=False)
            services.append(service)
        bare, monitored = services
        wait_until(lambda: accepts(bare.port), seconds=60)
        wait_until(lambda: accepts(monitored.port), seconds=60)
        wait_until(lambda: monitored.get("/health/startup").status == 200, seconds=60)
        yield bare, monitored


def accepts(port: int) -> bool:
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=scaled(5)),
    ):
        return True
    return False


def answer_of(service: Adopted, request: Request) -> Answer:
    headers = {"Host": "shop.example.com", **(request.headers or {})}
    return service.request(request.method, request.path, request.body, headers=headers, timeout=60)


def seen(answer: Answer) -> tuple[Any, ...]:
    """Return what a client sees of *answer*, headers in their order."""
    headers = [(k, v) for k, v in answer.headers.items() if k.lower() not in NOT_COMPARED]
    return answer.status, headers, answer.body


def compare(bare: Adopted, monitored: Adopted, requests: list[Request]) -> None:
    """Send *requests* to both, and look at what they answered, counted and logged."""
    answers = [(answer_of(bare, each), answer_of(monitored, each)) for each in requests]
    samples = monitored.samples()
    wait_until(lambda: monitored.events().count("http_request") >= len(requests), seconds=60)
    lines = monitored.log()  # every line of every process is JSON

    assert [seen(after) for _, after in answers] == [seen(before) for before, _ in answers]
    assert all(len(after.headers["X-Request-ID"]) == 32 for _, after in answers)
    counted = {
        (found["endpoint"], found["method"], found["status"]): value
        for (name, labels), value in samples.items()
        if name == "http_requests_total"
        and (found := dict(labels))
        and value
        and not found["endpoint"].startswith("/health/")
    }
    assert counted == Counter(
        (request.rule, request.method, str(after.status))
        for request, (_, after) in zip(requests, answers, strict=True)
    )
    logged = [line for line in lines if line.get("endpoint") in {each.rule for each in requests}]
    # Each worker writes its own, so that their order is not that of the requests.
    assert Counter(line["status"] for line in logged) == Counter(x.status for _, x in answers)
    assert all(line["request_id"] for line in logged)


def test_httpbin(tmp_path: Path) -> None:
    with bare_and_monitored(tmp_path, HTTPBIN) as (bare, monitored):
        compare(bare, monitored, TO_HTTPBIN)

        assert set(monitored.ready()) == {"disk"}


def test_rq_dashboard(tmp_path: Path, redis_url: str) -> None:
    with bare_and_monitored(tmp_path, RQ_DASHBOARD, REDIS_URL=redis_url) as (bare, monitored):
        compare(bare, monitored, TO_RQ_DASHBOARD)

        assert monitored.ready()["redis"] == {"healthy": True, "message": "Redis accessible"}
