"""The API as the tests speak to it."""

from __future__ import annotations

import json
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

__all__ = ["Api", "body", "problem", "step"]


def step(skill: str, **values: Any) -> dict[str, Any]:
    return {"skill": skill, "with": values}


def body(answer: TestResponse) -> Any:
    return json.loads(answer.get_data())


def problem(answer: TestResponse, status: int) -> dict[str, Any]:
    """Return the problem in *answer*, checked for what every problem has."""
    assert answer.status_code == status, answer.get_data(as_text=True)
    assert answer.content_type == "application/problem+json"
    told: dict[str, Any] = body(answer)
    assert {"type", "title", "status", "detail", "instance"} <= set(told)
    assert told["status"] == status
    assert told["instance"] == answer.request.path
    return told


class Api:
    """What a well-meaning caller does, and the client for everything else."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def create(self, agent_id: str, *steps: dict[str, Any], name: str = "An agent") -> Any:
        answer = self.client.post(
            "/api/v1/agents", json={"agent_id": agent_id, "name": name, "steps": list(steps)}
        )
        assert answer.status_code == 201, answer.get_data(as_text=True)
        return answer.json

    def run(self, agent_id: str, **given: Any) -> Any:
        answer = self.client.post(f"/api/v1/agents/{agent_id}/executions", json={"input": given})
        assert answer.status_code == 201, answer.get_data(as_text=True)
        return answer.json

    def run_once(self, *steps: dict[str, Any], **given: Any) -> Any:
        """Create an agent of *steps* and run it."""
        self.create("once", *steps)
        return self.run("once", **given)
