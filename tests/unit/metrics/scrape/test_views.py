"""/health/metrics over HTTP."""

from __future__ import annotations

import gzip

import pytest
from flask import Flask
from flask.testing import FlaskClient

from atom_platform.extension.access_control import AccessDecision
from atom_platform.metrics.scrape.page import MetricsPage
from atom_platform.metrics.scrape.views import create_blueprint


@pytest.fixture(name="client")
def _client() -> FlaskClient:
    app = Flask("test")
    app.register_blueprint(create_blueprint(MetricsPage(on_scrape=lambda: scrapes.append(1))))
    scrapes.clear()
    return app.test_client()


scrapes: list[int] = []


@pytest.mark.parametrize("path", ["/health/metrics", "/health/metrics/"])
def test_it_answers_with_and_without_a_slash(client: FlaskClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 200
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert {"Accept", "Accept-Encoding"} <= {
        each.strip() for each in answer.headers["Vary"].split(",")
    }
    assert scrapes == [1]


@pytest.mark.parametrize("path", ["/health/metrics//", "/health//metrics"])
def test_it_never_redirects(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_head_is_get_without_its_body(client: FlaskClient) -> None:
    answer = client.head("/health/metrics")

    assert answer.status_code == 200
    assert answer.data == b""
    assert int(answer.headers["Content-Length"]) > 1000


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_refused(client: FlaskClient, method: str) -> None:
    answer = client.open("/health/metrics", method=method)

    assert answer.status_code == 405
    assert {each.strip() for each in answer.headers["Allow"].split(",")} >= {"GET", "HEAD"}
    assert scrapes == []


def test_gzip_over_http(client: FlaskClient) -> None:
    answer = client.get("/health/metrics", headers={"Accept-Encoding": "gzip"})

    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.data).startswith(b"# HELP")


def test_openmetrics_over_http(client: FlaskClient) -> None:
    answer = client.get("/health/metrics", headers={"Accept": "application/openmetrics-text"})

    assert answer.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert answer.data.endswith(b"# EOF\n")


def test_names_that_nothing_has_are_not_found(client: FlaskClient) -> None:
    """A 200 without a metric would look like a service that is up and idle."""
    answer = client.get("/health/metrics?name[]=nope")

    assert answer.status_code == 404
    assert answer.data


def test_names_restrict_it(client: FlaskClient) -> None:
    answer = client.get("/health/metrics?name[]=active_agents&name[]=gunicorn_workers")

    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    assert lines == ["active_agents 0.0", "gunicorn_workers 0.0"]


def test_scrapes_time_themselves(client: FlaskClient) -> None:
    client.get("/health/metrics")
    client.get("/health/metrics")

    name = "metrics_collect_duration_seconds_count"
    assert f"{name} 2.0\n" in client.get(f"/health/metrics?name[]={name}").text


@pytest.mark.parametrize(
    ("verdict", "status"), [(AccessDecision.GUARDED, 401), (AccessDecision.HIDDEN, 404)]
)
@pytest.mark.parametrize("path", ["/health/metrics", "/health/metrics/?name[]=active_agents"])
def test_a_refusal_shows_nothing_and_wakes_nobody(
    verdict: AccessDecision, status: int, path: str
) -> None:
    app = Flask("test")
    app.register_blueprint(
        create_blueprint(
            MetricsPage(on_scrape=lambda: scrapes.append(1)), verdict=lambda environ: verdict
        )
    )
    scrapes.clear()

    answer = app.test_client().get(path)

    assert answer.status_code == status
    assert b"active_agents" not in answer.data
    assert answer.headers["Cache-Control"] == "no-store"
    assert ("WWW-Authenticate" in answer.headers) is (status == 401)
    assert scrapes == []
