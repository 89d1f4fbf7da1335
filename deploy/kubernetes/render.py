"""Make the operator's PrometheusRule from the rule files of `deploy/prometheus/rules/`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.prometheus.render import render_rules

__all__ = ["PROMETHEUS_RULE", "render_prometheus_rule"]

PROMETHEUS_RULE: Final = (
    Path(__file__).resolve().parent / "components/monitoring/prometheusrule.yaml"
)

HEAD: Final = """\
# Made from deploy/prometheus/rules by `make rules`; do not edit.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: atom-platform
  labels:
    app: atom-platform
spec:
  groups:
"""


def render_prometheus_rule(rule_files: Mapping[Path, str]) -> dict[Path, str]:
    """
    Return the text of the PrometheusRule by its path.

    The groups are copied as text with their comments, which an operator reads during an alert.

    Args:
        rule_files: The text of each rule file, in which `groups:` is the only key.

    Raises:
        ValueError: A rule file does not look like that.
    """
    groups = [_groups(path, rule_files[path]) for path in sorted(rule_files)]
    return {PROMETHEUS_RULE: HEAD + "\n".join(groups)}


def _groups(path: Path, text: str) -> str:
    head, found, groups = text.partition("\ngroups:\n")
    if not found or any(line and not line.startswith("#") for line in head.splitlines()):
        raise ValueError(f"{path} is not a rule file with nothing but groups")
    return "".join(f"  {line}" if line.strip() else line for line in groups.splitlines(True))


if __name__ == "__main__":
    for made, content in render_prometheus_rule(render_rules()).items():
        made.write_text(content)
