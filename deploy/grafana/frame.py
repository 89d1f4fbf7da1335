"""The common parts of all dashboards: variables, annotations, and links."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.panels import PROMETHEUS
from deploy.grafana.queries import select
from deploy.prometheus.render import thresholds

__all__ = ["add", "frame"]

#: Variables that may hold several values, by name: label, and what Grafana asks for the values.
VARIABLES: Final = {
    "instance": ("Instance", 'label_values(app_info{job=~"$job"}, instance)'),
    "endpoint": (
        "Endpoint",
        'label_values(http_requests_total{job=~"$job", endpoint!~"/health/.*"}, endpoint)',
    ),
    "agent": ("Agent", 'label_values(agent_executions_total{job=~"$job"}, agent_id)'),
    "skill": ("Skill", 'label_values(skill_executions_total{job=~"$job"}, skill_id)'),
}


def frame(uid: str, title: str, description: str, *variables: str) -> builders.Dashboard:
    """Return a dashboard without panels; *variables* names those it has beside job and instance."""
    dashboard = (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["atom-platform"])
        .readonly()
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(
            builders.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
        .with_variable(builders.DatasourceVariable("logs").label("Logs").type("loki"))
    )
    dashboard = dashboard.with_variable(
        builders.QueryVariable("job")
        .label("Job")
        .datasource(PROMETHEUS)
        .query("label_values(app_info, job)")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .current(models.VariableOption(selected=True, text="atom-platform", value="atom-platform"))
    )
    for name in ("instance", *variables):
        dashboard = dashboard.with_variable(_variable(name))
    for annotation in (
        _Annotation(
            "Deploys",
            "A version or revision that was not there two minutes ago.",
            "blue",
            "count by (version, revision) (app_info{@job})"
            " unless count by (version, revision) (app_info{@job} offset 2m)",
            title="Deploy {{version}} {{revision}}",
        ),
        _Annotation(
            "Starts",
            "An instance that started within the last minute.",
            "orange",
            # Not `changes()`: it misses an instance that was away for longer than its window.
            "time() - process_start_time_seconds{@service} < 60",
            title="Start of {{instance}}",
        ),
    ):
        dashboard = dashboard.annotation(annotation)
    for link in (
        builders.DashboardLink("ATOM platform")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags(["atom-platform"])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True),
        _link("Logs", _logs_url("")),
        _link("Errors in the logs", _logs_url(' | json | level=~"ERROR|CRITICAL"')),
        _link("Runbooks", f"{thresholds()['urls']['runbooks']}/"),
    ):
        dashboard = dashboard.link(link)
    return dashboard


def add(dashboard: builders.Dashboard, *panels: Builder[models.Panel]) -> None:
    """Add *panels* to the row that was begun last."""
    for panel in panels:
        dashboard.with_panel(panel)


def _variable(name: str) -> builders.QueryVariable:
    label, query = VARIABLES[name]
    return (
        builders.QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        # Not `.*`: that would also match series that lack the label.
        .all_value(".+")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def _link(title: str, url: str) -> builders.DashboardLink:
    return (
        builders.DashboardLink(title)
        .type(models.DashboardLinkType.LINK)
        .icon("external link")
        .url(url)
        .target_blank(True)
    )


def _logs_url(pipeline: str) -> str:
    """A link into Explore; Grafana puts in the variables before it opens it."""
    panes = {
        "logs": {
            "datasource": "${logs}",
            "queries": [{"refId": "A", "expr": '{service="atom-platform"}' + pipeline}],
            "range": {"from": "${__from}", "to": "${__to}"},
        }
    }
    text = quote(json.dumps(panes, separators=(",", ":")), safe="${}_")
    return f"/explore?schemaVersion=1&orgId=1&panes={text}"


class _Annotation(Builder[models.AnnotationQuery], models.AnnotationQuery):
    """An annotation of Prometheus: the SDK's knows neither its title nor its text."""

    def __init__(self, name: str, text: str, color: str, expr: str, *, title: str) -> None:
        super().__init__(
            name=name, datasource=PROMETHEUS, icon_color=color, expr=select(expr), hide=False
        )
        self._more = {"titleFormat": title, "textFormat": text, "step": "30s"}

    def build(self) -> models.AnnotationQuery:
        return self

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), **self._more}
