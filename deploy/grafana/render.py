"""Make `dashboards/*.json` from the Python beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.agents import agents
from deploy.grafana.overview import overview
from deploy.grafana.probes import probes
from deploy.grafana.workers import workers

__all__ = ["DASHBOARDS", "render_dashboards"]

DASHBOARDS: Final = Path(__file__).resolve().parent / "dashboards"


def render_dashboards() -> dict[Path, str]:
    """Return the JSON of every dashboard by its path."""
    rendered = {}
    for build in (overview, agents, workers, probes):
        dashboard = build().build()
        # Without ids of its own, a panel's link would change with every import.
        for number, panel in enumerate(dashboard.panels or [], start=1):
            panel.id_val = number
        text = json.dumps(dashboard, cls=JSONEncoder, indent=2, ensure_ascii=False)
        rendered[DASHBOARDS / f"{build.__name__}.json"] = text + "\n"
    return rendered
