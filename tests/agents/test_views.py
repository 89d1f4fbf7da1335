"""The API as a client sees it: what is kept, listed, refused, and how it says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from atom_platform.agents.service import AgentService
from atom_platform.agents.views import create_blueprint
from tests.agents.api import Api, body, problem, step

MEGABYTE = 1024 * 1024
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


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"agent_id": None}, "/agent_id"),
        ({"agent_id": "A"}, "/agent_id"),
        ({"agent_id": ""}, "/agent_id"),
        ({"agent_id": "a" * 65}, "/agent_id"),
        ({"agent_id": "a\n"}, "/agent_id"),
        ({"agent_id": 5}, "/agent_id"),
        ({"name": 5}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "x" * 201}, "/name"),
        ({"name": "a\x00b"}, "/name"),
        ({"steps": {}}, "/steps"),
        ({"steps": "x"}, "/steps"),
        ({"steps": [[]]}, "/steps/0"),
        ({"steps": [step("echo")] * 101}, "/steps"),
        ({"steps": [{"with": {}}]}, "/steps/0/skill"),
        ({"steps": [step("echo"), {"skill": "nothing"}]}, "/steps/1/skill"),
        ({"steps": [{"skill": 1}]}, "/steps/0/skill"),
        ({"steps": [{"skill": "echo", "with": []}]}, "/steps/0/with"),
        ({"steps": [{"skill": "echo", "when": {}}]}, "/steps/0/when"),
        ({"steps": [step("echo", value="{{ x")]}, "/steps/0/with/value"),
        ({"steps": [step("echo", other=1)]}, "/steps/0/with/other"),
        ({"steps": [step("wait", seconds=61)]}, "/steps/0/with/seconds"),
        ({"steps": [step("http-request", url="ftp://x")]}, "/steps/0/with/url"),
        ({"steps": [step("echo", value={"a/b~c": ["{% x"]})]}, "/steps/0/with/value/a~1b~0c/0"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_wrong_agents_are_told_where(
    client: FlaskClient, change: dict[str, Any], pointer: str
) -> None:
    told = problem(client.post("/api/v1/agents", json={**AGENT, **change}), 422)

    assert pointer in [error["pointer"] for error in told["errors"]]
    assert pointer in told["detail"]
    assert all(error["message"] for error in told["errors"])
    assert body(client.get("/api/v1/agents"))["agents"] == []


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"null", 422),
        (b"[]", 422),
        (b'"text"', 422),
        (b'{"agent_id": NaN}', 400),
        (b'{"agent_id": -Infinity}', 400),
        (b'{"name": 1e999}', 422),
        (b'{"name": "\\ud800"}', 422),
        (b'{"\\u0000": 1}', 422),
        (b'{"name": ' + b"1" * 5000 + b"}", 400),
        (b"\xff\xfe{}", 400),
        (b"\xef\xbb\xbf{}", 400),
        ("{}".encode("utf-16"), 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 50 + b"1" + b"}" * 50, 400),
        (b"{} {}", 400),
    ],
)
def test_what_is_no_json_of_ours_is_refused(client: FlaskClient, sent: bytes, status: int) -> None:
    answer = client.post("/api/v1/agents", data=sent, content_type="application/json")

    problem(answer, status)


def test_bad_json_is_told_where(client: FlaskClient) -> None:
    sent = '{"agent_id": "a",\n "name": }'

    told = problem(client.post("/api/v1/agents", data=sent, content_type="application/json"), 400)

    assert "line 2, column 10" in told["detail"]


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp"]
)
def test_other_media_types_are_refused(client: FlaskClient, content_type: str | None) -> None:
    problem(client.post("/api/v1/agents", data=json.dumps(AGENT), content_type=content_type), 415)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/a+json"])
def test_kinds_of_json_are_taken(client: FlaskClient, content_type: str) -> None:
    answer = client.post("/api/v1/agents", data=json.dumps(AGENT), content_type=content_type)

    assert answer.status_code == 201


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size", "status"), [(MEGABYTE, 201), (MEGABYTE + 1, 413)])
def test_a_body_has_a_megabyte_at_most(
    client: FlaskClient, size: int, status: int, chunked: bool
) -> None:
    """Also when it does not say how long it is."""
    text = json.dumps(AGENT).encode()
    text += b" " * (size - len(text))
    if chunked:
        answer = client.post(
            "/api/v1/agents",
            content_type="application/json",
            headers={"Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input": Chunks(text), "wsgi.input_terminated": True},
        )
    else:
        answer = client.post("/api/v1/agents", data=text, content_type="application/json")

    if status == 413:
        problem(answer, 413)
    assert answer.status_code == status


def test_a_badly_framed_body_is_refused(client: FlaskClient) -> None:
    """What a server's parser raises while the body is read is the client's doing."""
    answer = client.post(
        "/api/v1/agents",
        content_type="application/json",
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input": BadlyFramed(), "wsgi.input_terminated": True},
    )

    problem(answer, 400)


class TestOtherPaths:
    @pytest.mark.parametrize(
        "path",
        ["/api/", "/api/v1", "/api/v1/agents/", "/api/v2/agents", "/api/%ff%00", "/api/v1/a b"],
    )
    def test_are_not_found(self, client: FlaskClient, path: str) -> None:
        problem(client.get(path), 404)

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("PATCH", "/api/v1/agents", {"GET", "HEAD", "POST", "OPTIONS"}),
            ("POST", "/api/v1/agents/a", {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}),
            ("DELETE", "/api/v1/skills", {"GET", "HEAD", "OPTIONS"}),
            ("BREW", "/api/openapi.json", {"GET", "HEAD", "OPTIONS"}),
        ],
    )
    def test_allow_their_methods_only(
        self, client: FlaskClient, method: str, path: str, allowed: set[str]
    ) -> None:
        answer = client.open(path, method=method)

        problem(answer, 405)
        assert set(answer.headers["Allow"].split(", ")) == allowed

    def test_of_others_keep_their_own_errors(self, client: FlaskClient) -> None:
        assert client.get("/elsewhere").content_type.startswith("text/html")

    def test_agent_ids_are_checked_before_they_are_looked_up(self, client: FlaskClient) -> None:
        for agent_id in ("UPPER", "a b", "%00", "ä", "x" * 65, "a%0A"):
            problem(client.get(f"/api/v1/agents/{agent_id}"), 404)


def test_a_mistake_of_ours_is_a_problem_without_details(app: Flask, client: FlaskClient) -> None:
    @app.get("/api/v1/broken")
    def broken() -> str:
        raise RuntimeError("hunter2")

    answer = client.get("/api/v1/broken")

    problem(answer, 500)
    assert "hunter2" not in answer.get_data(as_text=True)


def test_problems_name_the_request(client: FlaskClient) -> None:
    answer = client.get("/api/nothing", environ_overrides={"atom.request_id": "req-456"})

    assert problem(answer, 404)["request_id"] == "req-456"


def test_the_access_line_is_given_the_ids(service: AgentService) -> None:
    noted: dict[str, Any] = {}
    app = Flask(__name__)
    app.register_blueprint(create_blueprint(service, log_request=noted.update))
    api = Api(app.test_client())

    execution = api.run_once(step("echo"))

    assert noted == {"agent_id": "once", "execution_id": execution["execution_id"]}


class BadlyFramed:
    """A body whose second chunk has no size."""

    def read(self, size: int = -1) -> bytes:
        raise LookupError("invalid chunk size")


class Chunks:
    """A body of unknown length, as a server hands on a chunked one."""

    def __init__(self, body: bytes) -> None:
        self._rest = body

    def read(self, size: int = -1) -> bytes:
        size = len(self._rest) if size < 0 else min(size, 8192)
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece
