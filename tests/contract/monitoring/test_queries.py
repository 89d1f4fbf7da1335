"""
Every query of rules and dashboards asks for what the service has.

Checked against the one table of metrics: a name or label that nobody exposes makes a rule that
never fires and a panel that stays empty, and neither Prometheus nor Grafana would say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from atom_platform.metrics.catalog import DEFINITIONS, HTTP_METHODS, Definition
from tests.contract.monitoring.promql import Selection, aggregations, parse, selections
from tests.support.sources import expressions, recordings, routes

#: Made by Prometheus for each target, or by its rules.
BUILT_IN = {
    "up": {"job", "instance"},
    "scrape_duration_seconds": {"job", "instance"},
    "ALERTS": {"job", "instance", "alertname", "alertstate"},
}
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
EXPOSED: dict[str, Definition] = {
    definition.name + suffix: definition
    for definition in DEFINITIONS
    for suffix in SUFFIXES[definition.kind]
}
QUERIES = expressions()
ALL = {f"{source}: {where}": expr for source in QUERIES for where, expr in QUERIES[source].items()}
RULES = [source for source in QUERIES if source.endswith(".yaml")]
DASHBOARDS = [source for source in QUERIES if source not in RULES]
ALL_LABELS = {"job", "instance", "le"} | {label for each in DEFINITIONS for label in each.labels}

every_source = pytest.mark.parametrize("source", QUERIES)


def selected(source: str) -> Iterator[tuple[str, Selection]]:
    """Yield each selector of *source* with the name of its query."""
    for where, expr in QUERIES[source].items():
        for each in selections(parse(expr)):
            yield where, each


def labels_of(metric: str) -> set[str]:
    """Return the labels that a series of *metric* has."""
    if metric in BUILT_IN:
        return BUILT_IN[metric]
    if metric in recordings():
        level = metric.partition(":")[0]
        return {label for label in ALL_LABELS if re.search(rf"(^|_){label}(_|$)", level)}
    definition = EXPOSED[metric]
    return {"job", "instance", *definition.labels, *(["le"] if metric.endswith("_bucket") else [])}


@every_source
def test_every_metric_exists(source: str) -> None:
    missing = {
        (where, each.metric)
        for where, each in selected(source)
        if each.metric not in {*EXPOSED, *BUILT_IN, *recordings()}
    }

    assert missing == set()


@every_source
def test_every_label_exists(source: str) -> None:
    for where, each in selected(source):
        assert each.labels <= labels_of(each.metric), (where, each)
    for where, expr in QUERIES[source].items():
        for aggregation in aggregations(parse(expr)):
            for each in aggregation.inside:
                assert aggregation.labels <= labels_of(each.metric), (where, aggregation)


@every_source
def test_counters_are_rated_and_gauges_are_not(source: str) -> None:
    for where, each in selected(source):
        definition = EXPOSED.get(each.metric)
        rated = bool({"rate", "increase", "irate"} & set(each.functions))
        only_there = each.functions[-1:] == ("unless",)
        if definition is not None and not only_there:
            assert rated == (definition.kind != "gauge"), (where, each)


@every_source
def test_other_jobs_are_left_alone(source: str) -> None:
    """The names of the guide have no prefix: any other service may have the same."""
    wanted = ("job", "Re", "$job") if source in DASHBOARDS else ("job", "Equal", "atom-platform")

    for where, each in selected(source):
        assert wanted in each.matchers, (where, each)


@pytest.mark.parametrize("source", DASHBOARDS)
def test_the_instance_chosen_in_a_dashboard_reaches_every_panel(source: str) -> None:
    for where, each in selected(source):
        whole_job = each.metric.startswith("job:") or each.metric in {"ALERTS", "app_info"}
        assert whole_job or ("instance", "Re", "$instance") in each.matchers, (where, each)


@every_source
def test_values_of_labels_exist(source: str) -> None:
    """`status="failed"` would select nothing, for ever."""
    for where, each in selected(source):
        definition = EXPOSED.get(each.metric)
        for label, _, pattern in each.matchers:
            if definition and label in definition.values and not pattern.startswith("$"):
                assert set(pattern.split("|")) <= set(definition.values[label]), (where, each)


def test_endpoints_and_methods_exist() -> None:
    for expr in ALL.values():
        for each in selections(parse(expr)):
            for label, _, value in each.matchers:
                if label == "endpoint" and value.startswith("/"):
                    assert any(re.fullmatch(value, route) for route in routes()), each
                if label == "method":
                    assert value in HTTP_METHODS, each


@every_source
def test_buckets_asked_for_exist(source: str) -> None:
    for where, each in selected(source):
        edges = {float(value) for label, _, value in each.matchers if label == "le"}
        if edges:
            assert edges <= set(EXPOSED[each.metric].buckets), (where, each)


@pytest.mark.parametrize("source", RULES)
def test_probes_are_not_counted_as_users(source: str) -> None:
    """Requests are selected either as the users' or as the probes', never both at once."""
    for where, each in selected(source):
        if each.metric.startswith(("http_requests_total", "http_request_duration_seconds")):
            assert "endpoint" in each.labels, (where, each)


def test_every_recording_is_read() -> None:
    read = {each.metric for expr in ALL.values() for each in selections(parse(expr))}

    assert set(recordings()) - read == set()
