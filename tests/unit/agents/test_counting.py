"""Each run and each step is counted once, under what came of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from atom_platform.agents.service import AgentService
from atom_platform.metrics.scrape import views as metrics_views
from atom_platform.metrics.scrape.page import MetricsPage
from atom_platform.skills.registry import Skill, SkillRegistry
from tests.support.api import Api, step
from tests.support.skills import Anything

Sample = Callable[..., float]


@pytest.fixture(name="sample")
def _sample(app: Flask) -> Sample:
    """Return a function that scrapes the application, and returns one sample or 0."""
    app.register_blueprint(metrics_views.create_blueprint(MetricsPage()))
    client = app.test_client()

    def sample(name: str, **labels: str) -> float:
        text = client.get("/health/metrics").get_data(as_text=True)
        found = [
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ]
        return found[0] if found else 0.0

    return sample


@pytest.mark.parametrize(
    ("last", "status"), [("echo", "success"), ("fail", "failure"), ("crash", "error")]
)
def test_outcomes(sample: Sample, api: Api, last: str, status: str) -> None:
    agents = {"name": "agent_executions_total", "agent_id": "counted", "status": status}
    first = {"name": "skill_executions_total", "skill_id": "context", "status": "success"}
    ending = {"name": "skill_executions_total", "skill_id": last, "status": status}
    before = [sample(**each) for each in (agents, first, ending)]
    api.create("counted", step("context"), step(last))

    assert api.run("counted")["status"] == status

    assert [sample(**each) for each in (agents, first, ending)] == [n + 1 for n in before]


def test_a_step_that_is_not_begun_is_not_counted(sample: Sample, api: Api) -> None:
    odd = {"name": "skill_executions_total", "skill_id": "odd", "status": "success"}
    before = sample(**odd)

    api.run_once(step("fail"), step("odd"))

    assert sample(**odd) == before


def test_durations_are_those_of_the_execution(sample: Sample, api: Api) -> None:
    name, labels = "agent_execution_duration_seconds_sum", {"agent_id": "timed"}
    before = sample(name, **labels)
    api.create("timed", step("wait", seconds=0.2))

    execution = api.run("timed")

    seconds = sample(name, **labels) - before
    assert seconds == pytest.approx(execution["duration_ms"] / 1000, abs=0.1)
    assert seconds >= 0.2


def test_a_running_agent_is_active(
    sample: Sample, api: Api, skills: SkillRegistry, service: AgentService
) -> None:
    seen = []
    skills.register(Skill("look", "", Anything, lambda asked: seen.append(sample("active_agents"))))
    api.create("once", step("look"), step("crash"))
    before = sample("active_agents")

    api.run("once")

    assert seen == [before + 1]
    assert sample("active_agents") == before


def test_what_a_client_types_is_no_label(sample: Sample, api: Api, app: Flask) -> None:
    for path in ("not-here", "UPPER", "%00", "a%2Fb", "x" * 5000):
        assert api.client.post(f"/api/v1/agents/{path}/executions").status_code == 404

    text = app.test_client().get("/health/metrics").get_data(as_text=True)
    assert "not-here" not in text
    assert "UPPER" not in text
