"""Counts are exact over all workers, whichever of them is scraped."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.support.service import Service

COUNT = "http_requests_total"


def test_a_thousand_requests_over_four_workers_are_a_thousand(
    start_service: Callable[..., Service],
) -> None:
    service = start_service(env={"WEB_CONCURRENCY": "4"})
    before = service.total(COUNT, endpoint="/api/v1/skills")

    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda _: service.get("/api/v1/skills"), range(1000)))

    assert {answer.status for answer in answers} == {200}
    for _ in range(8):  # whichever worker answers
        assert service.total(COUNT, endpoint="/api/v1/skills") - before == 1000
    assert service.total("http_request_duration_seconds_count", endpoint="/api/v1/skills") == 1000


def test_odd_requests_are_counted_by_bounded_labels(service: Service) -> None:
    def counts() -> dict[tuple[str, str, str], float]:
        return {
            (d["method"], d["endpoint"], d["status"]): value
            for (name, labels), value in service.samples().items()
            if name == COUNT
            for d in [dict(labels)]
        }

    before = counts()

    service.get("/nope/1")
    service.get("/nope/2")
    service.request("BREW", "/nope/3")
    service.request("DELETE", "/api/v1/skills")
    service.get("/api/v1/agents/no-such-agent")
    service.post("/api/v1/agents", b"{", headers={"Content-Type": "application/json"})
    service.post(
        "/api/v1/agents", b"x" * (1024 * 1024 + 1), headers={"Content-Type": "application/json"}
    )

    after = counts()
    grown = {
        key: after[key] - before.get(key, 0)
        for key in after
        if after[key] != before.get(key, 0) and not key[1].startswith("/health")
    }
    assert grown == {
        ("GET", "unmatched", "404"): 2,
        ("OTHER", "unmatched", "404"): 1,
        ("DELETE", "/api/v1/skills", "405"): 1,
        ("GET", "/api/v1/agents/<agent_id>", "404"): 1,
        ("POST", "/api/v1/agents", "400"): 1,
        ("POST", "/api/v1/agents", "413"): 1,
    }


def test_agents_and_skills_are_counted_by_outcome(service: Service) -> None:
    agents = {
        "happy": [{"skill": "render-template", "with": {"template": "Hello {{ input.name }}"}}],
        "refusing": [{"skill": "fail", "with": {"message": "drill"}}],
    }
    for agent_id, steps in agents.items():
        made = service.post(
            "/api/v1/agents", {"agent_id": agent_id, "name": agent_id, "steps": steps}
        )
        assert made.status == 201
        assert made.headers["Location"] == f"/api/v1/agents/{agent_id}"

    with ThreadPoolExecutor(8) as clients:
        runs = list(
            clients.map(
                lambda agent_id: service.post(
                    f"/api/v1/agents/{agent_id}/executions", {"input": {"name": "Ada"}}
                ),
                ["happy"] * 20 + ["refusing"] * 10,
            )
        )

    assert [run.status for run in runs] == [201] * 30
    assert [run.json()["status"] for run in runs] == ["success"] * 20 + ["failure"] * 10
    assert runs[0].json()["steps"][0]["output"] is not None
    samples = service.samples()
    assert (
        samples["agent_executions_total", frozenset({("agent_id", "happy"), ("status", "success")})]
        == 20
    )
    assert (
        samples[
            "agent_executions_total", frozenset({("agent_id", "refusing"), ("status", "failure")})
        ]
        == 10
    )
    assert (
        samples["agent_execution_duration_seconds_count", frozenset({("agent_id", "happy")})] == 20
    )
    assert (
        samples["skill_executions_total", frozenset({("skill_id", "fail"), ("status", "failure")})]
        == 10
    )
    assert (
        samples[
            "skill_execution_duration_seconds_count", frozenset({("skill_id", "render-template")})
        ]
        == 20
    )
    assert samples["active_agents", frozenset()] == 0
    assert samples["db_query_duration_seconds_count", frozenset({("operation", "insert")})] >= 32
    assert samples["db_query_duration_seconds_count", frozenset({("operation", "select")})] > 0
    assert samples["db_connections_idle", frozenset()] > 0
    listed = service.get("/api/v1/agents/happy/executions").json()
    assert len(listed["executions"]) == 20
