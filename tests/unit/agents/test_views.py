"""The API as a client sees it: what is kept, and how it is listed."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.api import Api, body, problem, step

AGENT = {"agent_id": "a", "name": "A", "steps": [step("echo", value=1)]}


class TestAgents:
    def test_are_created(self, client: FlaskClient) -> None:
        answer = client.post("/api/v1/agents", json=AGENT)

        assert answer.status_code == 201
        assert answer.headers["Location"] == "/api/v1/agents/a"
        assert answer.content_type == "application/json"
        assert {key: body(answer)[key] for key in AGENT} == AGENT
        assert body(answer)["created_at"] == body(answer)["updated_at"]
        assert body(client.get(answer.headers["Location"])) == body(answer)

    def test_have_an_id_once(self, api: Api) -> None:
        api.create("a")

        told = problem(api.client.post("/api/v1/agents", json=AGENT), 409)

        assert told["type"] == "urn:atom:problem:agent-exists"
        assert body(api.client.get("/api/v1/agents/a"))["steps"] == []

    def test_are_replaced(self, api: Api) -> None:
        created = api.create("a", step("echo", value=1))

        answer = api.client.put("/api/v1/agents/a", json={"name": "B", "steps": [step("fail")]})

        assert answer.status_code == 200
        assert (body(answer)["name"], body(answer)["steps"]) == ("B", [step("fail")])
        assert body(answer)["created_at"] == created["created_at"]
        assert body(answer)["updated_at"] >= created["updated_at"]
        assert body(api.client.get("/api/v1/agents/a")) == body(answer)

    def test_may_name_their_id_again(self, api: Api) -> None:
        api.create("a")

        assert api.client.put("/api/v1/agents/a", json=AGENT).status_code == 200

    def test_keep_their_id(self, api: Api) -> None:
        api.create("a")

        told = problem(api.client.put("/api/v1/agents/a", json={**AGENT, "agent_id": "b"}), 422)

        assert told["errors"][0]["pointer"] == "/agent_id"

    def test_are_not_made_by_put(self, client: FlaskClient) -> None:
        problem(client.put("/api/v1/agents/a", json=AGENT), 404)

    def test_are_deleted(self, api: Api) -> None:
        api.create("a")

        answer = api.client.delete("/api/v1/agents/a")

        assert (answer.status_code, answer.data) == (204, b"")
        assert "Content-Type" not in answer.headers
        problem(api.client.get("/api/v1/agents/a"), 404)
        problem(api.client.delete("/api/v1/agents/a"), 404)

    def test_names_may_be_anything(self, api: Api) -> None:
        name = "Ünïcode 世界 🎉 <b>&'\"\\"

        assert api.create("a", name=name)["name"] == name
        assert body(api.client.get("/api/v1/agents/a"))["name"] == name

    def test_answer_head(self, api: Api) -> None:
        api.create("a")

        assert api.client.head("/api/v1/agents/a").status_code == 200


class TestPages:
    def test_of_agents(self, api: Api) -> None:
        for agent_id in ("c", "a", "b", "e", "d"):
            api.create(agent_id)

        pages = list(self.pages(api, "/api/v1/agents", "agents", limit=2))

        assert [[each["agent_id"] for each in page] for page in pages] == [
            ["a", "b"],
            ["c", "d"],
            ["e"],
        ]

    def test_of_executions_newest_first(self, api: Api) -> None:
        api.create("other", step("echo"))
        api.create("a", step("echo", value="{{ input.n }}"))
        for number in range(5):
            api.run("a", n=number)
            api.run("other")

        pages = list(self.pages(api, "/api/v1/agents/a/executions", "executions", limit=2))

        outputs = [[each["steps"][0]["output"] for each in page] for page in pages]
        assert outputs == [["4", "3"], ["2", "1"], ["0"]]

    def test_hold_twenty_by_default(self, api: Api) -> None:
        for number in range(21):
            api.create(f"a{number:02}")

        first = body(api.client.get("/api/v1/agents"))

        assert len(first["agents"]) == 20
        rest = body(api.client.get(f"/api/v1/agents?cursor={first['next_cursor']}"))
        assert [each["agent_id"] for each in rest["agents"]] == ["a20"]
        assert rest["next_cursor"] is None

    def test_exactly_full_is_the_last(self, api: Api) -> None:
        api.create("a")
        api.create("b")

        assert body(api.client.get("/api/v1/agents?limit=2"))["next_cursor"] is None

    def test_a_cursor_survives_the_deletion_of_its_agent(self, api: Api) -> None:
        for agent_id in ("a", "b", "c"):
            api.create(agent_id)
        cursor = body(api.client.get("/api/v1/agents?limit=2"))["next_cursor"]
        api.client.delete("/api/v1/agents/b")

        rest = body(api.client.get(f"/api/v1/agents?cursor={cursor}"))["agents"]

        assert [each["agent_id"] for each in rest] == ["c"]

    @pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "", "1.0", "１", "9" * 400])
    def test_refuse_a_wrong_limit(self, client: FlaskClient, limit: str) -> None:
        told = problem(client.get("/api/v1/agents", query_string={"limit": limit}), 400)

        assert told["errors"][0]["parameter"] == "limit"

    @pytest.mark.parametrize("cursor", ["x", "%%%", "QQ", "AA", "é", "YQ\n", "a" * 5000])
    def test_refuse_a_wrong_cursor(self, client: FlaskClient, cursor: str) -> None:
        told = problem(client.get("/api/v1/agents", query_string={"cursor": cursor}), 400)

        assert told["errors"][0]["parameter"] == "cursor"

    def pages(self, api: Api, path: str, name: str, *, limit: int) -> Any:
        query: dict[str, Any] = {"limit": limit}
        while True:
            page = body(api.client.get(path, query_string=query))
            yield page[name]
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]


class TestExecutions:
    def test_are_created_with_a_location(self, api: Api) -> None:
        api.create("a", step("echo"))

        answer = api.client.post("/api/v1/agents/a/executions", json={"input": {}})

        assert answer.status_code == 201
        location = answer.headers["Location"]
        assert location == f"/api/v1/executions/{body(answer)['execution_id']}"
        assert body(api.client.get(location)) == body(answer)

    def test_need_no_body(self, api: Api) -> None:
        api.create("a", step("echo"))

        assert api.client.post("/api/v1/agents/a/executions").status_code == 201
        assert api.client.post("/api/v1/agents/a/executions", json={}).status_code == 201

    def test_outlive_their_agent(self, api: Api) -> None:
        api.create("a", step("echo"))
        execution = api.run("a")
        api.client.delete("/api/v1/agents/a")

        assert api.client.get(f"/api/v1/executions/{execution['execution_id']}").status_code == 200
        listed = body(api.client.get("/api/v1/agents/a/executions"))
        assert listed["executions"] == [execution]

    def test_of_an_agent_that_did_nothing_are_none(self, api: Api) -> None:
        api.create("a")

        assert body(api.client.get("/api/v1/agents/a/executions")) == {
            "executions": [],
            "next_cursor": None,
        }

    def test_of_nobody_are_not_found(self, client: FlaskClient) -> None:
        problem(client.get("/api/v1/agents/nobody/executions"), 404)
        problem(client.post("/api/v1/agents/nobody/executions"), 404)

    @pytest.mark.parametrize(
        "execution_id", ["x", "01a209a2-47ff-72f0-b711-4376c5ab5cfd", "A" * 36, "%00", "%ED%A0%80"]
    )
    def test_unknown_are_not_found(self, client: FlaskClient, execution_id: str) -> None:
        problem(client.get(f"/api/v1/executions/{execution_id}"), 404)


def test_skills_say_what_they_take(client: FlaskClient) -> None:
    skills = {each["id"]: each for each in body(client.get("/api/v1/skills"))["skills"]}

    assert {"send-email", "http-request", "render-template", "wait", "fail"} <= set(skills)
    assert set(skills["send-email"]["input"]["properties"]) == {"to", "subject", "body"}
    assert skills["send-email"]["input"]["required"] == ["to", "subject", "body"]
    assert skills["wait"]["description"].startswith("This skill waits")
