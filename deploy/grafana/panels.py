"""The style of our panels: one function per kind, and a description for every panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from grafana_foundation_sdk.builders import (
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.queries import Query, increase, select
from deploy.prometheus.render import thresholds

__all__ = ["PROMETHEUS", "Level", "heat", "lines", "number", "rows", "timeline"]

PROMETHEUS: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

#: (from this value on, this colour)
Level = tuple[float, str]

#: Any of the builders of panels: they share these methods, but no class that would declare them.
P = TypeVar("P", bound=Any)


def lines(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    levels: Sequence[Level] = (),
    alerts: Sequence[str] = (),
    stacked: bool = False,
    width: int = 8,
    minimum: float | None = 0,
    maximum: float | None = None,
) -> timeseries.Panel:
    """
    Return a panel of lines over time.

    Args:
        levels: Thresholds, drawn as dashed lines.
        alerts: Whose runbooks to link.
        width: Of 24.
    """
    panel = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(25 if stacked else 8)
        .show_points(kinds.VisibilityMode.AUTO)
        .tooltip(
            common.VizTooltipOptions()
            .mode(kinds.TooltipDisplayMode.MULTI)
            .sort(kinds.SortOrder.DESCENDING)
        )
        .legend(
            common.VizLegendOptions()
            .display_mode(kinds.LegendDisplayMode.LIST)
            .placement(kinds.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    if minimum is not None:
        panel = panel.min(minimum)
    if maximum is not None:
        panel = panel.max(maximum)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL))
    if levels:
        panel = panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED)
        )
    return _dressed(panel, title, description, queries, unit, levels, alerts, width, 8)


def number(
    title: str,
    description: str,
    query: Query,
    *,
    unit: str,
    levels: Sequence[Level] = (),
    alerts: Sequence[str] = (),
    width: int = 4,
) -> stat.Panel:
    """Return a panel of one number, with its recent course behind it."""
    panel = (
        stat.Panel()
        .graph_mode(kinds.BigValueGraphMode.AREA)
        .color_mode(kinds.BigValueColorMode.VALUE)
        .no_value("–")
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    return _dressed(panel, title, description, [query], unit, levels, alerts, width, 4)


def heat(
    title: str, description: str, histogram: str, *, where: str = "@service", width: int = 12
) -> heatmap.Panel:
    """Return the distribution of *histogram* (its name without `_bucket`) over time."""
    expr = increase(f"{histogram}_bucket", by="le", where=where)
    panel = (
        heatmap.Panel()
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(64)
        )
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .y_axis(heatmap.YAxisConfig().unit("s"))
        .show_y_histogram()
        .with_target(
            prometheus.Dataquery()
            .expr(select(expr))
            .legend_format("{{le}}")
            .format(PromQueryFormat.HEATMAP)
            .range()
            .ref_id("A")
        )
    )
    return _dressed(panel, title, description, [], "short", (), (), width, 8)


def timeline(
    title: str,
    description: str,
    query: Query,
    *,
    names: Sequence[tuple[int, str, str]],
    alerts: Sequence[str] = (),
    width: int = 12,
) -> statetimeline.Panel:
    """Return bands of states; *names* gives each value its text and its colour."""
    panel = (
        statetimeline.Panel()
        .merge_values(True)
        .show_value(kinds.VisibilityMode.NEVER)
        .row_height(0.8)
        .mappings(
            [
                models.ValueMap(
                    options={
                        str(value): models.ValueMappingResult(text=text, color=color, index=index)
                        for index, (value, text, color) in enumerate(names)
                    }
                )
            ]
        )
    )
    return _dressed(panel, title, description, [query], "short", (), alerts, width, 8)


def rows(
    title: str,
    description: str,
    *queries: Query,
    by: str,
    columns: Sequence[tuple[str, str]] = (),
    hidden: Sequence[str] = (),
    width: int = 24,
) -> table.Panel:
    """
    Return a table of what *queries* find right now.

    Args:
        by: The label that several queries share; one row for each value of it.
        columns: Name and unit of each query's column.
        hidden: Labels that get no column.
    """
    panel = table.Panel().show_header(True)
    for index, query in enumerate(queries):
        panel = panel.with_target(
            prometheus.Dataquery()
            .expr(select(query.expr))
            .format(PromQueryFormat.TABLE)
            .instant()
            .ref_id(_letter(index))
        )
    if len(queries) > 1:  # a join of one would make rows with the same label one row
        panel = panel.with_transformation(
            models.DataTransformerConfig(
                id_val="joinByField", options={"byField": by, "mode": "outer"}
            )
        )
    # A join leaves one column of times for each query.
    left_out = ("Time", *(f"Time {index}" for index in range(1, len(queries) + 1)), *hidden)
    panel = panel.with_transformation(
        models.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": dict.fromkeys(left_out, True),
                "renameByName": {
                    f"Value #{_letter(index)}": name for index, (name, _) in enumerate(columns)
                },
            },
        )
    )
    for name, unit in columns:
        panel = panel.override_by_name(name, [models.DynamicConfigValue(id_val="unit", value=unit)])
    return _dressed(panel, title, description, [], "short", (), (), width, 8)


def _dressed(
    panel: P,
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    levels: Sequence[Level],
    alerts: Sequence[str],
    width: int,
    height: int,
) -> P:
    panel = (
        panel.title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(unit)
        .span(width)
        .height(height)
        .thresholds(
            builders.ThresholdsConfig()
            .mode(models.ThresholdsMode.ABSOLUTE)
            .steps(
                [
                    models.Threshold(value=None, color="green"),
                    *(models.Threshold(value=value, color=color) for value, color in levels),
                ]
            )
        )
        .links(
            [
                builders.DashboardLink(f"Runbook: {alert}")
                .url(f"{thresholds()['urls']['runbooks']}/{alert}.md")
                .target_blank(True)
                for alert in alerts
            ]
        )
    )
    for index, query in enumerate(queries):
        target = (
            prometheus.Dataquery()
            .expr(select(query.expr))
            .legend_format(query.legend)
            .range()
            .ref_id(_letter(index))
        )
        panel = panel.with_target(target.exemplar(True) if query.exemplars else target)
    return panel


def _letter(index: int) -> str:
    return chr(ord("A") + index)
