"""What the API refuses, and how it says so; none of it depends on which database there is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from atom_platform.agents.service import AgentService
from atom_platform.agents.views import create_blueprint
from tests.support.api import Api, body, problem, step

MEGABYTE = 1024 * 1024
AGENT = {"agent_id": "a", "name": "A", "steps": [step("echo", value=1)]}


@pytest.fixture(scope="module", name="database_url")
def _database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('agents')}/atom.db"


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
            ("PATCH", "/api/v1/agents", {"GET", "HEAD", "POST"}),
            ("POST", "/api/v1/agents/a", {"GET", "HEAD", "PUT", "DELETE"}),
            ("DELETE", "/api/v1/skills", {"GET", "HEAD"}),
            ("BREW", "/api/openapi.json", {"GET", "HEAD"}),
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


@pytest.mark.parametrize("content", [b"[]", b"null", b'"x"', b'{"steps": [[]]}'])
def test_a_refusal_names_nothing_of_ours(client: FlaskClient, content: bytes) -> None:
    """A client cannot know what a class of ours is called."""
    answer = client.post("/api/v1/agents", data=content, content_type="application/json")

    assert answer.status_code == 422
    assert "Input should be an object" in answer.text
    assert "AgentCreate" not in answer.text
    assert "StepIn" not in answer.text
