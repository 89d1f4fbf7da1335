"""The reference page comes whole from this service, and a real browser shows it."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from tests.tools import needs


@pytest.fixture(scope="module", name="database_url")
def _database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database is enough for what does not depend on it."""
    return f"sqlite:///{tmp_path_factory.mktemp('agents')}/atom.db"


def test_page(client: FlaskClient) -> None:
    for path in ("/api/docs", "/api/docs/"):
        answer = client.get(path)

        assert answer.status_code == 200
        assert answer.content_type.startswith("text/html")
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]


def test_everything_it_loads_is_here(client: FlaskClient) -> None:
    page = client.get("/api/docs").get_data(as_text=True)
    links = re.findall(r'(?:src|href)="([^"]+)"', page)

    assert len(links) >= 5
    for link in links:
        answer = client.get(link)
        assert answer.status_code == 200, link
        assert answer.headers.get("X-Content-Type-Options", "nosniff") == "nosniff"
        answer.close()
    assert "<script>" not in page
    assert "http" not in page


@pytest.mark.parametrize("asset", ["nothing.js", "..%2fflask_swagger_ui.py", "index.css", "%00"])
def test_nothing_else_of_the_package_is_served(client: FlaskClient, asset: str) -> None:
    assert client.get(f"/api/docs/{asset}").status_code == 404


@pytest.fixture(name="url")
def _url(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


def test_a_browser_shows_the_operations(url: str) -> None:
    """Under the page's own policy, which the browser enforces."""
    chromium = needs("chromium", package="chromium")
    with tempfile.TemporaryDirectory() as home:
        shown = subprocess.run(
            [
                *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
                *("--enable-logging=stderr", "--virtual-time-budget=20000"),
                *(f"--user-data-dir={home}", f"{url}/api/docs"),
            ],
            env={**os.environ, "HOME": home},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    for operation in ("create_agent", "run_agent", "get_execution", "list_skills"):
        assert f'-{operation}"' in shown.stdout
    assert "Content Security Policy" not in shown.stderr
