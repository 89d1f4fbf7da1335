"""The dashboards can be read by somebody who sees them for the first time, at night."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.grafana.render import DASHBOARDS, render_dashboards
from deploy.prometheus.render import thresholds
from tests.support.sources import alerts, dashboards

every_dashboard = pytest.mark.parametrize("uid", dashboards())

#: The monitoring guide's "Recommended Panels", by its titles.
GUIDE = {
    "HTTP Request Rate",
    "HTTP Request Latency (p95)",
    "HTTP Error Rate",
    "Active Agents",
    "Agent Execution Rate",
    "Agent Execution Latency (p95)",
    "Database Query Latency (p95)",
    "Database Connection Pool",
}


def panels(uid: str) -> list[dict[str, Any]]:
    return [panel for panel in dashboards()[uid]["panels"] if panel["type"] != "row"]


def titled(uid: str, title: str) -> dict[str, Any]:
    (panel,) = [panel for panel in panels(uid) if panel["title"] == title]
    return panel


def levels(panel: dict[str, Any]) -> list[float]:
    """Return the values of the thresholds that are drawn."""
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return [step["value"] for step in steps if step["value"] is not None]


def test_the_four_are_there_and_no_others() -> None:
    assert set(dashboards()) == {"atom-overview", "atom-agents", "atom-workers", "atom-probes"}
    assert set(DASHBOARDS.glob("*")) == set(render_dashboards())


def test_the_guides_panels_are_on_the_overview() -> None:
    assert dashboards()["atom-overview"]["title"] == "ATOM Platform Monitoring"
    assert {panel["title"] for panel in panels("atom-overview")} >= GUIDE


def test_the_guides_thresholds_are_drawn() -> None:
    """Spelled out, in the unit of the panel."""
    assert levels(titled("atom-overview", "HTTP Request Latency (p95)")) == [1.0]
    assert levels(titled("atom-overview", "HTTP Error Rate")) == [0.05]
    assert levels(titled("atom-overview", "Active Agents")) == [100]
    assert levels(titled("atom-workers", "Pool in use")) == [0.9]
    assert levels(titled("atom-probes", "Liveness (p95)")) == [0.01, 0.05]
    assert levels(titled("atom-probes", "Readiness (p95)")) == [0.1, 0.25]
    assert levels(titled("atom-probes", "Metrics scrape (p95)")) == [0.05, 0.1]
    assert levels(titled("atom-probes", "Database check (p95)")) == [0.05, 0.1]


def test_a_broken_promise_is_not_drawn_as_nought() -> None:
    for name in ("availability", "latency"):
        panel = titled("atom-overview", f"Budget left: {name}")
        assert "min" not in panel["fieldConfig"]["defaults"]


@every_dashboard
def test_a_dashboard_can_be_imported_and_linked(uid: str) -> None:
    """The guide's example was wrapped for the API, and had no uid to link to."""
    dashboard = dashboards()[uid]

    assert "dashboard" not in dashboard
    assert dashboard["schemaVersion"] >= 39
    assert dashboard["editable"] is False
    assert dashboard["description"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


@every_dashboard
def test_a_panel_explains_itself(uid: str) -> None:
    for panel in panels(uid):
        assert len(panel["description"]) > 15, panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["type"] == "table" or panel["fieldConfig"]["defaults"]["unit"], panel["title"]


@every_dashboard
def test_panels_do_not_overlap(uid: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboards()[uid]["panels"]:
        position = panel["gridPos"]
        for x in range(position["x"], position["x"] + position["w"]):
            for y in range(position["y"], position["y"] + position["h"]):
                assert x < 24, panel["title"]
                assert (x, y) not in taken, (panel["title"], taken.get((x, y)))
                taken[x, y] = panel["title"]


@every_dashboard
def test_rates_follow_the_zoom(uid: str) -> None:
    """A fixed window over a wide range reads a tenth of the data, and over a narrow one nothing."""
    tables = {panel["title"] for panel in panels(uid) if panel["type"] == "table"}

    for panel in panels(uid):
        for target in panel.get("targets", []):
            if "rate(" in target["expr"] and panel["title"] not in tables:
                assert "[$__rate_interval]" in target["expr"], panel["title"]


@every_dashboard
def test_variables_let_one_choose(uid: str) -> None:
    variables = {each["name"]: each for each in dashboards()[uid]["templating"]["list"]}
    used = str(dashboards()[uid]["panels"]) + str(dashboards()[uid]["links"])

    assert {"datasource", "logs", "job", "instance"} <= set(variables)
    assert variables["job"]["current"]["value"] == "atom-platform"
    for name in variables:
        assert f"${name}" in used or f"${{{name}" in used, f"{name} changes nothing"


@every_dashboard
def test_deploys_and_starts_are_marked_and_logs_are_near(uid: str) -> None:
    dashboard = dashboards()[uid]
    links = {link["title"]: link.get("url") for link in dashboard["links"]}

    assert [each["name"] for each in dashboard["annotations"]["list"]] == ["Deploys", "Starts"]
    assert {"Logs", "Errors in the logs", "Runbooks", "ATOM platform"} <= set(links)
    assert links["Runbooks"] == thresholds()["urls"]["runbooks"] + "/"


def test_panels_link_to_the_runbooks_of_their_alerts() -> None:
    linked = {
        link["url"].rpartition("/")[2].removesuffix(".md")
        for uid in dashboards()
        for panel in panels(uid)
        for link in panel.get("links") or []
    }
    names = {alert.name for alert in alerts()}

    assert linked == names - {"Watchdog"}  # it is about no panel


def test_latencies_have_heatmaps() -> None:
    """A percentile hides a second population."""
    drawn = {
        target["expr"].partition("_bucket")[0].rpartition("(")[2]
        for uid in dashboards()
        for panel in panels(uid)
        if panel["type"] == "heatmap"
        for target in panel["targets"]
    }

    assert drawn >= {
        "http_request_duration_seconds",
        "agent_execution_duration_seconds",
        "skill_execution_duration_seconds",
        "db_query_duration_seconds",
        "health_check_duration_seconds",
    }
