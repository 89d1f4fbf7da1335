"""
The whole way, with real parts: fault, metric, scrape, rule, alert, webhook, and back to silence.

`pytest -rP` shows the course of every alert.
"""

from __future__ import annotations

import subprocess

import pytest

from tests.service.monitoring.drill import EXPECTED, Drill, Expected, drilled
from tests.support.monitoring_stack import SPEED
from tests.support.postgres import PostgreSQL
from tests.support.programs import needs
from tests.support.sources import dashboards
from tests.support.stalls import scaled

pytestmark = pytest.mark.timeout(400)  # the drill is the set-up of whichever test comes first

#: Panels that have nothing to show while nothing of the sort happens.
EMPTY_UNLESS_IT_HAPPENS = {
    "atom-overview: Exceptions A",
}


@pytest.fixture(scope="module", name="drill")
def _drill(tmp_path_factory: pytest.TempPathFactory, postgresql: PostgreSQL) -> Drill:
    for program, package in (
        ("prometheus", "prometheus"),
        ("prometheus-alertmanager", "prometheus-alertmanager"),
        ("promtool", "prometheus"),
    ):
        needs(program, package=package)
    return drilled(tmp_path_factory.mktemp("drill"), postgresql)


def test_nothing_is_alerted_while_all_is_well(drill: Drill) -> None:
    assert drill.before & {expected.alertname for expected in EXPECTED} == set()
    assert "Watchdog" in drill.before


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: expected.alertname)
def test_the_alert_arrives(drill: Drill, expected: Expected) -> None:
    assert drill.courses[expected].arrived is not None, drill.log()


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: expected.alertname)
def test_the_alert_resolves(drill: Drill, expected: Expected) -> None:
    assert drill.courses[expected].resolved is not None, drill.log()


def test_waiting_for_the_exhausted_pool_is_not_told_as_well(drill: Drill) -> None:
    assert "DatabaseConnectionPoolWaiting" in drill.inhibited


def test_the_dead_mans_switch_is_told_all_the_time(drill: Drill) -> None:
    assert drill.heartbeats >= 10


def test_the_end_of_everything_arrives(drill: Drill) -> None:
    assert drill.all_down


@pytest.mark.parametrize("uid", dashboards())
def test_every_query_of_the_dashboard_finds_something(drill: Drill, uid: str) -> None:
    silent = {
        where
        for where, found in drill.queries.items()
        if where.startswith(f"{uid}: ") and not found
    }

    assert silent - EMPTY_UNLESS_IT_HAPPENS == set()


def test_prometheus_finds_the_traces_of_requests(drill: Drill) -> None:
    """Prometheus asks for OpenMetrics, where exemplars travel."""
    assert drill.exemplars
    assert all(len(trace_id) == 32 for trace_id in drill.exemplars)


def test_prometheus_reads_the_text_format_too(drill: Drill) -> None:
    """Its server asks for OpenMetrics only; its own parser of the text is in promtool."""
    checked = subprocess.run(
        [needs("promtool", package="prometheus"), "check", "metrics"],
        input=drill.text,
        capture_output=True,
        text=True,
        timeout=scaled(30),
    )

    assert "error while linting" not in checked.stdout + checked.stderr
    assert "parse" not in checked.stderr, checked.stderr


def test_the_log_of_the_drill(drill: Drill) -> None:
    print(f"in quick motion, {SPEED} times\n{drill.log()}")

    assert all(course.firing is not None for course in drill.courses.values())
