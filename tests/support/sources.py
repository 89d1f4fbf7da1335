"""What the rules, the dashboards and the stories say, read from the files that are delivered."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.service import ROOT

__all__ = [
    "DEPLOY",
    "Alert",
    "alerts",
    "dashboards",
    "expressions",
    "recordings",
    "routes",
    "stories",
]

DEPLOY: Final = ROOT / "deploy"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alerting rule; several may share a name, with different severities."""

    name: str
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]
    file: str


@cache
def alerts() -> list[Alert]:
    return [
        Alert(rule["alert"], rule["expr"], rule["labels"], rule["annotations"], file)
        for file, rule in _rules()
        if "alert" in rule
    ]


@cache
def recordings() -> dict[str, str]:
    """Return the expression of every recording rule by its name."""
    return {rule["record"]: rule["expr"] for _, rule in _rules() if "record" in rule}


@cache
def dashboards() -> dict[str, dict[str, Any]]:
    """Return every dashboard by its uid."""
    loaded = [json.loads(path.read_text()) for path in DEPLOY.glob("grafana/dashboards/*.json")]
    return {dashboard["uid"]: dashboard for dashboard in loaded}


@cache
def expressions() -> dict[str, dict[str, str]]:
    """Return every query of the delivery: by rule file or dashboard, then by where it stands."""
    found: dict[str, dict[str, str]] = {}
    for file, rule in _rules():
        name = rule.get("record") or " ".join([rule["alert"], *sorted(rule["labels"].values())])
        found.setdefault(file, {})[name] = rule["expr"]
    for uid, dashboard in dashboards().items():
        of_dashboard = found.setdefault(uid, {})
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                of_dashboard[f"{panel['id']} {panel['title']} {target['refId']}"] = target["expr"]
        for annotation in dashboard["annotations"]["list"]:
            of_dashboard[annotation["name"]] = annotation["expr"]
    return found


@cache
def stories() -> dict[Path, dict[str, Any]]:
    """Return every file of stories that is ours, without those on the guide's rules."""
    return {
        path: yaml.safe_load(path.read_text())
        for path in sorted(DEPLOY.glob("prometheus/rules_test/*.yaml"))
    }


@cache
def routes() -> set[str]:
    """Return the URL rules in the README's table; `tests/contract/test_guide.py` checks it."""
    table = (ROOT / "README.md").read_text().partition("## Endpoints")[2].partition("\n## ")[0]
    return set(re.findall(r"`(?:[A-Z]|\\\|)+ (/[^`?\s]*)", table))


@cache
def _rules() -> list[tuple[str, dict[str, Any]]]:
    return [
        (path.name, rule)
        for path in sorted(DEPLOY.glob("prometheus/rules/*.yaml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]
