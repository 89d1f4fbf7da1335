"""A page for each alert, of one build; what it tells somebody to do at night can be done."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from atom_platform.cli import COMMANDS
from atom_platform.metrics.catalog import DEFINITIONS
from tests.contract.monitoring.promql import parse, selections
from tests.support.service import ROOT
from tests.support.sources import alerts, recordings, routes

RUNBOOKS = ROOT / "docs/runbooks"
PAGES = sorted(path for path in RUNBOOKS.glob("*.md") if path.stem != "README")
NAMES = {alert.name for alert in alerts()}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    assert {page.stem for page in PAGES} == NAMES


@every_page
def test_a_page_is_of_one_build(page: Path) -> None:
    text = page.read_text()

    assert text.startswith(f"# {page.stem}\n\n")
    assert re.findall(r"^## (.*)$", text, re.M) == [
        "Impact",
        "Confirm",
        "Causes",
        "Mitigate",
        "Escalate",
    ]
    assert text.count("\n1. **") == 1, "causes are ordered by likelihood"
    assert len(text.splitlines()) <= 60, "longer is not read at night"


def test_no_two_pages_say_the_same() -> None:
    """Copied paragraphs are advice that nobody thought about."""
    paragraphs = [
        paragraph
        for page in PAGES
        for paragraph in page.read_text().split("\n\n")
        if len(paragraph) > 120 and "```" not in paragraph
    ]

    assert len(paragraphs) == len(set(paragraphs))


@every_page
def test_its_queries_ask_for_what_exists(page: Path) -> None:
    exposed = {
        each.name + suffix
        for each in DEFINITIONS
        for suffix in ("", "_bucket", "_sum", "_count")
        if (each.kind == "histogram") == bool(suffix)
    }
    by_prometheus = {"up", "ALERTS", "scrape_duration_seconds", "scrape_samples_scraped"}

    queries = re.findall(r"```promql\n(.*?)```", page.read_text(), re.S)

    for query in queries:
        for each in selections(parse(query)):
            assert each.metric in {*exposed, *by_prometheus, *recordings()}, query
            assert each.metric == "ALERTS" or ("job", "Equal", "atom-platform") in each.matchers


@every_page
def test_it_confirms_with_a_query_or_a_command(page: Path) -> None:
    confirm = page.read_text().partition("## Confirm")[2].partition("\n## ")[0]

    assert "```promql" in confirm or "```sh" in confirm


@every_page
def test_what_it_names_exists(page: Path) -> None:
    text = page.read_text()
    source = "\n".join(path.read_text() for path in (ROOT / "atom_platform").rglob("*.py"))
    served = [re.sub("<[a-z_]+>", "[^/]+", route) for route in routes()]

    for setting in re.findall(r"`((?:ATOM_|WEB_|DATABASE_|PROMETHEUS_)[A-Z_]+)", text):
        assert f'"{setting}"' in source, setting
    for event in re.findall(r'\.event == "([a-z_]+)"', text):
        assert f'"{event}"' in source, event
    for command in re.findall(r"(?:python -m atom_platform|(?:^|`)atom-platform) ([a-z-]+)", text):
        assert command in COMMANDS, command
    for url in re.findall(
        r"(?:localhost:8000|http://INSTANCE|https?://SERVICE)(/[^\"'\s?;]*)", text
    ):
        assert any(re.fullmatch(route, url) for route in served), url
    for name in re.findall(r"`([A-Z][a-z]+(?:[A-Z][A-Za-z]*)+)`", text):
        assert name in NAMES or name in ABROAD, name
    for link in re.findall(r"\]\(([A-Za-z]+)\.md\)", text):
        assert link in NAMES, link


#: Names in the alerts' style that are somebody else's.
ABROAD = {"SkillFailed", "OOMKilled", "PodMonitor", "NetworkPolicy"}


def test_the_readme_is_where_the_dashboards_link() -> None:
    assert (RUNBOOKS / "README.md").exists()
