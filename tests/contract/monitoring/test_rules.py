"""The rules are what templates and thresholds make; Prometheus takes them; the stories hold."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from promql_parser import BinaryExpr, Call, NumberLiteral

from atom_platform.metrics.catalog import DEFINITIONS
from deploy.prometheus.render import THRESHOLDS, render_rules, thresholds
from deploy.render import rendered
from tests.contract.monitoring.promql import parse, selections
from tests.support.programs import needs
from tests.support.service import ROOT
from tests.support.sources import DEPLOY, alerts, dashboards, recordings, stories
from tests.support.stalls import scaled

RULES = DEPLOY / "prometheus/rules"
GUIDE_STORIES = DEPLOY / "prometheus/rules_test/guide/stories.yaml"
#: The alerts of the monitoring guide, by its own names.
GUIDE = {
    "HighHTTPErrorRate",
    "HighHTTPLatency",
    "HighActiveAgentCount",
    "DatabaseConnectionPoolExhausted",
    "ReadinessProbeFailing",
}


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = needs("promtool", package="prometheus")
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=scaled(100)
    )


def test_what_is_committed_is_what_is_made() -> None:
    """Otherwise `make rules` was forgotten, or a made file edited."""
    stale = {path.name for path, text in rendered().items() if path.read_text() != text}

    assert stale == set()


def test_no_rule_file_is_left_over() -> None:
    assert set(RULES.glob("*")) == set(render_rules())


def test_prometheus_takes_the_rules() -> None:
    checked = promtool("check", "rules", *sorted(RULES.glob("*.yaml")))

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    "file", [pytest.param(path, id=path.stem) for path in [*stories(), GUIDE_STORIES]]
)
def test_the_stories_hold(file: Path) -> None:
    told = promtool("test", "rules", file)

    assert told.returncode == 0, told.stdout + told.stderr


def test_the_stories_on_the_guide_use_its_own_expressions() -> None:
    rules = yaml.safe_load((GUIDE_STORIES.parent / "rules.yaml").read_text())["groups"][0]["rules"]

    assert {rule["alert"]: (rule["expr"], rule["for"]) for rule in rules} == {
        "GuideHighHTTPErrorRate": ('rate(http_requests_total{status=~"5.."}[5m]) > 0.05', "5m"),
        "GuideHighHTTPLatency": (
            "histogram_quantile(0.95, http_request_duration_seconds_bucket) > 1.0",
            "5m",
        ),
        "GuideHighActiveAgentCount": ("active_agents > 100", "10m"),
        "GuideDatabaseConnectionPoolExhausted": (
            "db_connections_active / (db_connections_active + db_connections_idle) > 0.9",
            "5m",
        ),
        "GuideReadinessProbeFailing": ('up{job="atom-platform"} == 0', "2m"),
    }


def test_the_record_of_the_guides_defects_and_its_stories_agree() -> None:
    rows = re.findall(r"^\| (P\d+) \|", (ROOT / "docs/adr/0004-promql.md").read_text(), re.M)
    told = {
        story["name"].split()[0] for story in yaml.safe_load(GUIDE_STORIES.read_text())["tests"]
    }

    assert rows == [f"P{number}" for number in range(1, 15)]
    # The others are about names, files and buckets, not about a query.
    assert told == set(rows) - {"P8", "P12", "P13", "P14"}


def told(*, firing: bool) -> set[str]:
    """Return the alerts that some story expects to fire, or to stay silent."""
    return {
        expectation["alertname"]
        for file in stories().values()
        for story in file["tests"]
        for expectation in story.get("alert_rule_test", [])
        if bool(expectation["exp_alerts"]) is firing
    }


def test_every_alert_was_seen_to_fire_and_to_stay_silent() -> None:
    names = {alert.name for alert in alerts()}

    assert told(firing=True) == names
    assert told(firing=False) == names - {"Watchdog"}  # which never does


def test_every_severity_was_seen_to_fire() -> None:
    """Four rules of one name and one story would leave three of them untried."""
    fired = {
        (
            expectation["alertname"],
            *sorted(
                alert["exp_labels"][label]
                for label in DISTINGUISHING
                if label in alert["exp_labels"]
            ),
        )
        for file in stories().values()
        for story in file["tests"]
        for expectation in story.get("alert_rule_test", [])
        for alert in expectation["exp_alerts"]
    }
    wanted = {
        (
            alert.name,
            *sorted(alert.labels[label] for label in DISTINGUISHING if label in alert.labels),
        )
        for alert in alerts()
        if alert.name != "LatencyBudgetBurn"  # made by the same lines as AvailabilityBudgetBurn
    }

    assert wanted - fired == set()


DISTINGUISHING = ("severity", "long_window")


def test_the_guides_alerts_keep_their_names_and_severities() -> None:
    severities = {alert.name: alert.labels["severity"] for alert in alerts()}

    assert {name: severities[name] for name in GUIDE} == {
        "HighHTTPErrorRate": "warning",
        "HighHTTPLatency": "warning",
        "HighActiveAgentCount": "warning",
        "DatabaseConnectionPoolExhausted": "critical",
        "ReadinessProbeFailing": "critical",
    }


def test_the_guides_thresholds_are_kept() -> None:
    """Spelled out: they are the customer's, and changing one is a decision."""
    assert thresholds()["guide"] == {
        "http_error_ratio": 0.05,
        "http_p95_seconds": 1.0,
        "active_agents": 100,
        "database_pool_ratio": 0.9,
    }
    assert thresholds()["probes"] == {
        "liveness": {"warning": 0.01, "critical": 0.05},
        "readiness": {"warning": 0.1, "critical": 0.25},
        "scrape": {"warning": 0.05, "critical": 0.1},
        "readiness_database": {"warning": 0.05, "critical": 0.1},
    }


@pytest.mark.parametrize(
    "alert", alerts(), ids=lambda alert: f"{alert.name}-{alert.labels['severity']}"
)
def test_an_alert_says_who_where_and_what_to_do(alert: Any) -> None:
    urls = thresholds()["urls"]
    uid = alert.annotations["dashboard_url"].removeprefix(f"{urls['grafana']}/d/").partition("?")[0]

    assert alert.labels["severity"] in {"critical", "warning", "none"}
    assert alert.labels["service"] == "atom-platform"
    assert set(alert.annotations) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert alert.annotations["runbook_url"] == f"{urls['runbooks']}/{alert.name}.md"
    assert uid in dashboards()
    assert "{{" not in alert.annotations["summary"], "a summary groups: it is the same for all"


def test_latencies_are_compared_at_bucket_edges() -> None:
    """Between two edges a quantile is a guess: `p95 > 0.03` could go either way."""
    edges = {
        f"{each.name}_bucket": each.buckets for each in DEFINITIONS if each.kind == "histogram"
    }
    compared = {}
    for alert in alerts():
        for comparison in comparisons(parse(alert.expr)):
            metrics = histograms(comparison.lhs)
            for metric in metrics:
                compared[alert.name, alert.labels["severity"]] = comparison.rhs.val
                assert comparison.rhs.val in edges[metric], (alert.name, metric)

    assert len(compared) == 10, compared  # four probes twice, HTTP, and the queue


def comparisons(expr: Any) -> list[Any]:
    """Return what compares something with a number, in *expr*."""
    if not isinstance(expr, BinaryExpr):
        return []
    here = [expr] if isinstance(expr.rhs, NumberLiteral) else []
    return here + comparisons(expr.lhs) + comparisons(expr.rhs)


def histograms(expr: Any) -> set[str]:
    """Return the histograms of which *expr* is a quantile, looking into recordings."""
    if isinstance(expr, Call) and expr.func.name == "histogram_quantile":
        found = set()
        for each in selections(expr):
            inner = recordings().get(each.metric)
            found |= {s.metric for s in selections(parse(inner))} if inner else {each.metric}
        return found
    return {
        metric
        for each in selections(expr)
        if each.metric in recordings()
        for metric in histograms(parse(recordings()[each.metric]))
    }


def test_every_threshold_decides_something(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Change one at a time: a number that changes nothing is a promise without an alert."""
    before = render_rules()
    original = thresholds()

    unused = []
    for path in leaves(original):
        changed = tmp_path / "thresholds.yaml"
        changed.write_text(yaml.safe_dump(altered(original, path)))
        monkeypatch.setattr("deploy.prometheus.render.THRESHOLDS", changed)
        if render_rules() == before:
            unused.append(path)

    assert THRESHOLDS.exists()
    assert unused == []


Leaf = tuple[str | int, ...]
#: Where not every text will do: severities, and windows that are recorded.
OTHER_TEXT = {
    "critical": "warning",
    "warning": "critical",
    "30d": "28d",
    **dict.fromkeys(("5m", "30m", "1h", "6h", "1d", "3d"), "2h"),
    "2h": "6h",
}


def leaves(value: Any, path: Leaf = ()) -> list[Leaf]:
    if isinstance(value, dict):
        return [leaf for key, each in value.items() for leaf in leaves(each, (*path, key))]
    if isinstance(value, list):
        return [leaf for index, each in enumerate(value) for leaf in leaves(each, (*path, index))]
    return [path]


def altered(value: Any, path: Leaf) -> Any:
    if not path:
        if isinstance(value, str):
            return OTHER_TEXT.get(value, f"{value}0")
        return value * 1.5 if value > 1 else value * 0.99
    copy = value.copy()
    copy[path[0]] = altered(value[path[0]], path[1:])
    return copy
