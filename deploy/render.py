"""Write the files under `deploy/` that are made from others: `python -m deploy.render`."""

from __future__ import annotations

from pathlib import Path

from deploy.grafana.render import render_dashboards
from deploy.kubernetes.render import render_prometheus_rule
from deploy.prometheus.render import render_rules

__all__ = ["rendered"]


def rendered() -> dict[Path, str]:
    """Return what each made file should hold."""
    rules = render_rules()
    return rules | render_dashboards() | render_prometheus_rule(rules)


def main() -> None:
    for path, text in rendered().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
