"""
Make `rules/` from `templates/` and `thresholds.yaml`.

The templates are Prometheus rule files, comments and all, in which `<< … >>` stands for a number;
Prometheus's own `{{ … }}` passes through untouched.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import jinja2
import yaml

__all__ = ["RULES", "THRESHOLDS", "render_rules", "thresholds"]

HERE: Final = Path(__file__).resolve().parent
THRESHOLDS: Final = HERE / "thresholds.yaml"
TEMPLATES: Final = HERE / "templates"
RULES: Final = HERE / "rules"

NOTICE: Final = "# Made from templates/{name} and thresholds.yaml by `make rules`; do not edit.\n"


def thresholds() -> dict[str, Any]:
    """Return `thresholds.yaml` as nested dictionaries."""
    loaded: dict[str, Any] = yaml.safe_load(THRESHOLDS.read_text())
    return loaded


def render_rules() -> dict[Path, str]:
    """
    Return the text of every rule file by its path.

    Raises:
        jinja2.UndefinedError: A template names a threshold that does not exist.
    """
    values = thresholds()
    functions: dict[str, Callable[..., Any]] = {
        "labels": _labels,
        "links": partial(_links, values["urls"]),
        "budget": partial(_budget, values["slo"]),
    }
    return {
        RULES / name: NOTICE.format(name=name)
        + re.sub(r"\n{3,}", "\n\n", _environment().get_template(name).render(values | functions))
        for name in sorted(path.name for path in TEMPLATES.glob("*.yaml"))
    }


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(  # noqa: S701 — YAML, not HTML
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _labels(severity: str) -> str:
    return f"{{severity: {severity}, service: atom-platform}}"


def _links(urls: dict[str, str], alert: str, dashboard: str, *, instance: bool = False) -> str:
    """Two annotations, indented as they stand in the templates."""
    # An instance in the URL of an alert that has none would select an empty name.
    query = "?var-instance={{ $labels.instance }}" if instance else ""
    return (
        f"runbook_url: {urls['runbooks']}/{alert}.md\n"
        f'          dashboard_url: "{urls["grafana"]}/d/atom-{dashboard}{query}"'
    )


def _budget(slos: dict[str, Any], name: str) -> float:
    """The share of requests that may be bad: `1 - objective`, without its binary dust."""
    objective: float = slos[name]["objective"]
    return round(1 - objective, 9)
