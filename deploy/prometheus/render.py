"""
Make `rules/` from `templates/` and `thresholds.yaml`.

The templates are Prometheus rule files, comments and all, in which `<< … >>` stands for a
threshold;
Prometheus's own `{{ … }}` passes through untouched.
"""

from __future__ import annotations

import re
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
    environment = jinja2.Environment(  # noqa: S701 — YAML, not HTML
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
    environment.globals |= {"labels": _labels, "links": _links(values), "budget": _budget(values)}
    return {
        RULES / template.name: NOTICE.format(name=template.name)
        + re.sub(r"\n{3,}", "\n\n", environment.get_template(template.name).render(values))
        for template in sorted(TEMPLATES.glob("*.yaml"))
    }


def _labels(severity: str) -> str:
    return f"{{severity: {severity}, service: atom-platform}}"


def _links(values: dict[str, Any]) -> Any:
    grafana, runbooks = values["urls"]["grafana"], values["urls"]["runbooks"]

    def links(alert: str, dashboard: str, *, instance: bool = False) -> str:
        """Two annotations, indented as they stand in the templates."""
        # An instance in the URL of an alert that has none would select an empty name.
        query = "?var-instance={{ $labels.instance }}" if instance else ""
        return (
            f"runbook_url: {runbooks}/{alert}.md\n"
            f'          dashboard_url: "{grafana}/d/atom-{dashboard}{query}"'
        )

    return links


def _budget(values: dict[str, Any]) -> Any:
    def budget(slo: str) -> float:
        """The share of requests that may be bad: `1 - objective`, without its binary dust."""
        objective: float = values["slo"][slo]["objective"]
        return round(1 - objective, 9)

    return budget
