"""The reference page comes whole from this service, and a real browser shows it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Locator, Page
from werkzeug.serving import make_server

from tests.support.browser import launched, visiting
from tests.support.stalls import scaled


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
    thread.join(scaled(10))
    server.server_close()


def operation(page: Page, name: str) -> Locator:
    """Unfold the operation called *name*, ready to be tried."""
    block = page.locator(f"[id$=-{name}]")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    return block


def execute(block: Locator) -> tuple[str, str]:
    """Send the request, and return the status and the body that the page shows."""
    block.get_by_role("button", name="Execute").click()
    answer = block.locator(".live-responses-table .response").last
    status = answer.locator(".response-col_status").inner_text().split()[0]
    return status, answer.locator("pre code").first.inner_text()


def test_a_browser_without_a_network_reads_and_tries_it(url: str) -> None:
    """Under the page's own policy, which the browser enforces and complains about."""
    with launched() as browser, visiting(browser) as visit:
        page = visit.page
        page.goto(f"{url}/api/docs")
        for name in ("create_agent", "run_agent", "get_execution", "list_skills"):
            page.locator(f"[id$=-{name}]").wait_for()

        status, body = execute(operation(page, "create_agent"))  # with the example that it offers
        assert status == "201", body
        agent_id = json.loads(body)["agent_id"]
        run = operation(page, "run_agent")
        run.get_by_placeholder("agent_id").fill(agent_id)
        status, body = execute(run)

        assert status == "201", body
        assert json.loads(body)["status"] == "success"
        assert visit.complaints == visit.elsewhere == []
