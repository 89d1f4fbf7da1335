"""
The page in a real browser, over a real service of two workers under real traffic.

The service has a token, so all of it is also seen to work with one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from prometheus_client.parser import text_string_to_metric_families

from tests.support.browser import Visit, launched, visiting
from tests.support.service import Service, running_service

TOKEN = "an-operators-token-0123"
ENDPOINT = "/api/v1/agents"
#: Nobody else asks for it.
SELDOM = "/api/v1/skills"
RUN = f"{ENDPOINT}/broken/executions"
DURATION = "http_request_duration_seconds_bucket"


@pytest.fixture(scope="module", name="service")
def _service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("status")
    disk = directory / "disk"
    disk.mkdir()
    env = {
        "ATOM_STATUS_PAGE": "on",
        "WEB_CONCURRENCY": "2",
        "ATOM_METRICS_TOKEN": TOKEN,
        "ATOM_DISK_PATH": str(disk),
    }
    with running_service(directory, env=env) as service:
        step = {"skill": "render-template", "with": {"template": "{{ 1 / 0 }}"}}
        agent = {"agent_id": "broken", "name": "Broken", "steps": [step]}
        assert service.post(ENDPOINT, agent).status == 201
        yield service


@pytest.fixture(scope="module", name="browser")
def _browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(name="visit")
def _visit(browser: Browser, service: Service) -> Iterator[Visit]:
    """A page of one's own that has begun to count."""
    with visiting(browser) as visit:
        yield unlocked(visit, service)


@pytest.fixture(scope="module", name="shared")
def _shared(browser: Browser, service: Service) -> Iterator[Visit]:
    """A page for tests that leave it as it was and count nothing."""
    with visiting(browser) as visit:
        yield unlocked(visit, service)


def unlocked(visit: Visit, service: Service) -> Visit:
    """Open the page with the token in its tab, and wait for its first figures."""
    visit.page.add_init_script(f"sessionStorage.setItem('atom-status-token', '{TOKEN}')")
    visit.page.goto(f"http://127.0.0.1:{service.port}/health/")
    visit.page.locator("#workers tbody tr").nth(1).wait_for()
    return visit


def unexpected(shared: Visit) -> list[str]:
    """Return its complaints but those about a service that another test took away."""
    return [each for each in shared.complaints if "net::ERR_" not in each]


def row(page: Page, table: str, key: str) -> list[str]:
    """Return the texts of the row that *key* heads; empty while there is none."""
    found: list[str] = page.locator(f"#{table} tbody tr").evaluate_all(
        """(rows, key) => {
            const row = rows.find((row) => row.cells[0].textContent === key);
            return row ? [...row.cells].map((cell) => cell.textContent) : [];
        }""",
        key,
    )
    return found


def until(page: Page, condition: Callable[[], Any], *, within: float = 60) -> Any:
    """Wait for *condition* while the browser goes on, which it does in calls of Playwright only."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, page.locator("body").inner_text()
        page.wait_for_timeout(50)
    return value


def buckets(service: Service) -> dict[float, float]:
    """Return the cumulative counts of ENDPOINT, of all methods together."""
    answer = service.get("/health/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    found: dict[float, float] = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            if sample.name == DURATION and sample.labels["endpoint"] == ENDPOINT:
                bound = float(sample.labels["le"])
                found[bound] = found.get(bound, 0.0) + sample.value
    return found


def bucket_of_quantile(q: float, counts: dict[float, float]) -> tuple[float, float]:
    """Return the bounds of the bucket that the q-quantile of *counts* lies in."""
    lower = 0.0
    for bound in sorted(counts):
        if counts[bound] >= q * counts[float("inf")]:
            return lower, bound
        lower = bound
    raise AssertionError(counts)


def seconds(text: str) -> float:
    number, unit = text.split()
    return float(number) * {"ms": 0.001, "s": 1}[unit]


def test_shows_what_the_metrics_say(visit: Visit, service: Service) -> None:
    page, before = visit.page, buckets(service)
    for _ in range(30):
        assert service.get(ENDPOINT).status == 200
    for _ in range(4):
        assert service.get("/nowhere").status == 404
    assert service.post(RUN, {"input": {}}).json()["status"] == "error"

    shown = until(
        page, lambda: (cells := row(page, "endpoints", ENDPOINT))[1:2] == ["30"] and cells
    )
    increase = {bound: count - before.get(bound, 0.0) for bound, count in buckets(service).items()}
    for q, text in ((0.5, shown[4]), (0.95, shown[5]), (0.99, shown[6])):
        low, high = bucket_of_quantile(q, increase)
        assert low * 0.99 <= seconds(text) <= high * 1.01, (q, text, increase)
    assert shown[3] == "0 %"
    until(page, lambda: row(page, "endpoints", "unmatched")[1:2] == ["4"])
    tile = page.locator("#tiles > div", has_text="Executions")
    until(page, lambda: tile.locator("dd").all_inner_texts() == ["1", "0 failed, 1 broke"])
    assert visit.complaints == visit.elsewhere == []


def test_health_requests_are_shown_on_demand(shared: Visit) -> None:
    """By keyboard alone."""
    page = shared.page
    until(page, lambda: page.locator("#tiles dd").first.inner_text() != "–")
    assert row(page, "endpoints", "/health/metrics") == []

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the figures"
    box = page.get_by_label("with health requests")
    box.focus()
    page.keyboard.press("Space")
    until(page, lambda: row(page, "endpoints", "/health/metrics"))
    page.keyboard.press("Space")
    until(page, lambda: not row(page, "endpoints", "/health/metrics"))


def test_workers_are_those_that_live(shared: Visit, service: Service) -> None:
    for pid in map(str, service.workers()):
        cells = until(shared.page, partial(row, shared.page, "workers", pid))
        assert re.fullmatch(r"(\d+ min )?\d+ s|\d+ min", cells[1])
        assert re.fullmatch(r"\d+ MB", cells[2])


def test_errors_are_told_with_their_request(shared: Visit, service: Service) -> None:
    """Whichever worker had it, and whichever is asked."""
    ids = {f"status-test-{number}" for number in range(8)}
    for request_id in ids:
        service.post(RUN, {"input": {}}, headers={"X-Request-ID": request_id})

    table = shared.page.locator("#errors tbody")
    until(shared.page, lambda: all(each in table.inner_text() for each in ids))
    told = table.inner_text()
    assert "skill_error" in told
    assert "agent broken, skill render-template" in told
    assert "division" not in told  # a message is for the log
    assert unexpected(shared) == []


def test_an_outage_is_shown_and_remembered(shared: Visit, service: Service) -> None:
    page, verdict = shared.page, shared.page.get_by_role("status")
    check = page.locator("#checks li[data-key=disk]")
    disk = Path(service.env["ATOM_DISK_PATH"])
    disk.rmdir()

    until(page, lambda: "✕ unhealthy" in check.inner_text())
    until(page, lambda: verdict.inner_text() == "✕ Not ready")
    until(page, lambda: "and lasts" in check.inner_text())
    disk.mkdir()
    until(page, lambda: "✓ healthy" in check.inner_text() and verdict.inner_text() == "✓ Ready")

    until(page, lambda: "and lasts" not in check.inner_text())
    assert re.search(r"one outage in|\d outages in", check.inner_text())
    assert "no outage in" in page.locator("#checks li[data-key=database]").inner_text()
    assert unexpected(shared) == []


def test_can_be_read_and_used_by_everybody(visit: Visit, service: Service) -> None:
    """No rule of axe is broken in any of its looks, and nothing is wider than the screen."""
    page = visit.page
    service.post(RUN, {"input": {}})
    until(page, lambda: row(page, "endpoints", f"{ENDPOINT}/<agent_id>/executions"))

    backgrounds = set()
    looks: list[tuple[int, Any]] = [(1280, "light"), (1280, "dark"), (360, "light")]
    for width, colours in looks:
        page.emulate_media(color_scheme=colours)
        page.set_viewport_size({"width": width, "height": 740})
        backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))

        assert visit.violations() == [], (width, colours)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert len(backgrounds) == 2
    assert visit.complaints == visit.elsewhere == []


def test_pause_stops_asking(visit: Visit) -> None:
    page, asked = visit.page, []
    page.get_by_role("button", name="Pause").click()
    page.wait_for_load_state("networkidle")  # what was on its way has come
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2200)  # longer than from one question to the next

    assert asked == []

    page.get_by_role("button", name="Pause").click()
    until(page, lambda: asked)


def test_survives_a_restart(browser: Browser, service: Service) -> None:
    """Counters begin anew, even if they are past where they were before anybody looks again."""
    for _ in range(2):
        service.get(SELDOM)
    with visiting(browser) as visit:
        page, verdict = unlocked(visit, service).page, visit.page.get_by_role("status")
        before = str(service.workers()[0])
        service.kill()

        until(page, lambda: verdict.inner_text().startswith("✕ Not reachable since "))
        assert row(page, "workers", before)  # what it knew is still there

        service.start()
        until(page, lambda: verdict.inner_text() == "✓ Ready")
        after = str(service.workers()[0])
        until(page, lambda: row(page, "workers", after) and not row(page, "workers", before))
        for _ in range(5):
            service.get(SELDOM)
        # Sooner than the page forgets its last reading of the service before.
        until(page, lambda: row(page, "endpoints", SELDOM)[1:2] == ["5"], within=30)
        figures = page.locator("#tiles, #charts").all_inner_texts()
        assert not re.search(r"NaN|[-−]\d", "".join(figures))


def test_asks_for_the_token(browser: Browser, service: Service) -> None:
    with visiting(browser) as visit:
        page = visit.page
        page.goto(f"http://127.0.0.1:{service.port}/health")
        field = page.get_by_label("Token of the metrics")
        field.fill("not-that-one-0123456789")
        page.keyboard.press("Enter")
        page.get_by_text("The service does not take this token.").wait_for()
        visit.complaints.clear()  # the browser reports the refusal as well

        field.fill(TOKEN)
        page.keyboard.press("Enter")
        page.locator("#checks li").first.wait_for()
        page.reload()
        page.locator("#checks li").first.wait_for()

        assert visit.complaints == []
        assert TOKEN not in page.url
        assert page.evaluate("localStorage.length") == 0
        assert page.context.cookies() == []
        assert not any(TOKEN.encode() in line for line in service.output)
