"""The responses of `/health/` and its files, their access, and that the page is off by default."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient

from atom_platform.env_parsers import Secret
from atom_platform.monitoring import Monitoring
from atom_platform.settings import Settings
from atom_platform.status import views as status_views
from atom_platform.status.recent_events import RECENT_EVENTS
from tests.support.polling import wait_until

TOKEN = "an-operators-token-0123"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
JSON = {"Accept": "application/json"}


@pytest.fixture(autouse=True)
def _closed_events() -> Iterator[None]:
    yield
    RECENT_EVENTS.close()


def serve(**settings: object) -> Iterator[FlaskClient]:
    app = Flask(__name__)
    with Monitoring(app, settings=Settings(**{"status_page": "on", **settings}), disk=False):  # type: ignore[arg-type]
        yield app.test_client()


@pytest.fixture(name="client")
def _client() -> Iterator[FlaskClient]:
    yield from serve()


@pytest.fixture(name="guarded")
def _guarded() -> Iterator[FlaskClient]:
    yield from serve(metrics_token=Secret(TOKEN))


@pytest.fixture(name="hidden")
def _hidden() -> Iterator[FlaskClient]:
    yield from serve(management_port=9999)


@pytest.mark.parametrize("path", ["/health", "/health/", "/health/status", "/health/assets/x/y.js"])
def test_off_by_default(path: str) -> None:
    assert Settings().status_page == "off"
    for client in serve(status_page=Settings().status_page):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/health", "/health/"])
@pytest.mark.parametrize("accept", ["text/html,*/*;q=0.8", "*/*", "nonsense"])
def test_humans_get_a_page(client: FlaskClient, path: str, accept: str) -> None:
    answer = client.get(path, headers={"Accept": accept})

    assert answer.status_code == 200
    assert answer.mimetype == "text/html"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Vary"] == "Accept"
    assert answer.headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert b"{{" not in answer.data


@pytest.mark.parametrize("path", ["/health", "/health/"])
def test_machines_get_readiness_and_links(client: FlaskClient, path: str) -> None:
    answer = client.get(path, headers=JSON)

    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["status"] == "ready"
    assert answer.json["checks"] == {}
    for link in answer.json["links"].values():
        assert client.get(link).status_code == 200, link


def test_the_applications_own_hooks_do_not_stop_it() -> None:
    """A login would, or a redirect to HTTPS."""
    app = Flask(__name__)
    app.before_request(lambda: abort(403))
    with Monitoring(app, settings=Settings(status_page="on"), disk=False):
        client = app.test_client()

        for path in ("/health", "/health/", "/health/status", "/health/status/"):
            assert client.get(path).status_code == 200, path
        assert client.get(f"{files(client)}main.js").status_code == 200
        assert client.get("/elsewhere").status_code == 403


def test_machines_get_the_status_code_of_readiness() -> None:
    app = Flask(__name__)
    with Monitoring(
        app, settings=Settings(status_page="on"), disk=False, checks={"queue": lambda: False}
    ):
        client = app.test_client()

        assert client.get("/health/", headers=JSON).status_code == 503
        # Told a moment after it can be asked for.
        wait_until(lambda: (client.get("/health/status").json or {})["check_transitions"])
        # The page's own question is not a probe: a browser would report an error.
        answer = client.get("/health/status")
        assert answer.status_code == 200
        assert answer.json is not None
        assert answer.json["readiness"]["status"] == "not_ready"
        (transition,) = answer.json["check_transitions"]
        assert (transition["check"], transition["healthy"]) == ("queue", False)
        assert answer.json["of"] == "worker"  # without gunicorn there is nothing to share


@pytest.mark.parametrize("path", ["/health/", "/health/status"])
def test_methods(client: FlaskClient, path: str) -> None:
    assert client.head(path).status_code == 200
    assert client.head(path).data == b""
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert client.open(path, method=method).status_code == 405


def test_a_prefix_of_a_proxy_is_kept(client: FlaskClient) -> None:
    answer = client.get("/health/", environ_overrides={"SCRIPT_NAME": '/atom"<b>'})

    assert b'href="/atom&quot;&lt;b&gt;/health/metrics"' in answer.data
    assert b"<b>" not in answer.data


def files(client: FlaskClient) -> str:
    return client.get("/health/").get_data(as_text=True).split('src="')[1].split("vendor/")[0]


def test_files_are_kept_for_ever(client: FlaskClient) -> None:
    answer = client.get(f"{files(client)}main.js")

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.mimetype == "text/javascript"
    again = client.get(f"{files(client)}main.js", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_files_of_another_version_are_not(client: FlaskClient) -> None:
    """During an update a page of the new workers may ask one of the old."""
    answer = client.get("/health/assets/0123456789abcdef/main.js")

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-cache"


def test_another_file_is_another_address(tmp_path: Path) -> None:
    for name in ("index.html", "main.js"):
        (tmp_path / name).write_text("one")
    one = status_views.Assets(tmp_path).version
    (tmp_path / "main.js").write_text("two")

    assert status_views.Assets(tmp_path).version != one


@pytest.mark.parametrize(
    "name", ["nothing.js", "index.html", "../views.py", "vendor/uPlot.LICENSE"]
)
def test_nothing_else_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(files(client) + name).status_code == 404


def test_without_the_token_there_is_a_frame_and_the_verdict(guarded: FlaskClient) -> None:
    page = guarded.get("/health/")
    machine = guarded.get("/health/", headers=JSON)
    status = guarded.get("/health/status")

    assert page.status_code == 200
    assert b'data-token="required"' in page.data
    assert machine.json is not None
    assert machine.json["status"] == "ready"
    assert "checks" not in machine.json
    assert status.status_code == 401
    assert status.headers["WWW-Authenticate"].startswith("Bearer")
    assert status.headers["Cache-Control"] == "no-store"


def test_the_token_opens_it(guarded: FlaskClient) -> None:
    machine = guarded.get("/health/", headers={**JSON, **BEARER})

    assert machine.json is not None
    assert "checks" in machine.json
    assert guarded.get("/health/status", headers=BEARER).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/health/", "/health/status"])
def test_with_a_management_port_it_is_there_alone(hidden: FlaskClient, path: str) -> None:
    """The test's client comes to no port at all."""
    assert hidden.get(path).status_code == 404
    assert hidden.get(path, headers=JSON).status_code == 404
