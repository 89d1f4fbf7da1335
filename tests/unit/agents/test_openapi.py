"""The document is valid OpenAPI, names every route, and its schemas fit what is really answered."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # has no stubs
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.support.api import Api, body, step


@pytest.fixture(scope="module", name="database_url")
def _database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database is enough for what does not depend on it."""
    return f"sqlite:///{tmp_path_factory.mktemp('agents')}/atom.db"


@pytest.fixture(name="document")
def _document(client: FlaskClient) -> Any:
    return body(client.get("/api/openapi.json"))


def test_is_valid(document: Any) -> None:
    errors = list(OpenAPIV31SpecValidator(document).iter_errors())

    assert errors == []
    assert document["openapi"].startswith("3.1")


def test_names_every_route(app: Flask, document: Any) -> None:
    served = {
        (rule.rule.replace("<", "{").replace(">", "}"), method)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/")
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }

    documented = {
        (path, method.upper())
        for path, operations in document["paths"].items()
        for method in operations
    }

    assert documented == served


def test_tells_each_routes_story(document: Any) -> None:
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["summary"].endswith(".")
            assert operation["tags"]


def test_problems_are_problems(document: Any) -> None:
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                kinds = set(answer.get("content", {}))
                expected = {"application/problem+json"} if status >= "400" else {"application/json"}
                assert kinds == (set() if status == "204" else expected)


def test_schemas_fit_the_answers(api: Api, document: Any) -> None:
    api.create("a", step("echo", value=[1, {"b": None}]), step("fail"))
    execution = api.run("a")
    client = api.client

    for answer, model in [
        (client.get("/api/v1/agents"), "AgentPage"),
        (client.get("/api/v1/agents/a"), "AgentOut"),
        (client.get("/api/v1/agents/a/executions"), "ExecutionPage"),
        (client.get(f"/api/v1/executions/{execution['execution_id']}"), "ExecutionOut"),
        (client.get("/api/v1/skills"), "SkillList"),
        (client.get("/api/v1/agents/nobody"), "ProblemOut"),
        (client.get("/api/v1/agents?limit=0"), "ProblemOut"),
        (client.post("/api/v1/agents", json={"steps": 1}), "ProblemOut"),
    ]:
        schema = {"$ref": f"#/components/schemas/{model}", "components": document["components"]}
        validator = Draft202012Validator(strictly(schema))

        assert [error.message for error in validator.iter_errors(body(answer))] == []


def test_its_examples_work(client: FlaskClient, document: Any) -> None:
    """What "try it out" fills in can be sent as it is."""
    schemas = document["components"]["schemas"]
    properties = schemas["StepIn"]["properties"]
    example = {
        "agent_id": schemas["AgentCreate"]["properties"]["agent_id"]["examples"][0],
        "name": schemas["AgentCreate"]["properties"]["name"]["examples"][0],
        "steps": [{key: each["examples"][0] for key, each in properties.items()}],
    }
    given = schemas["ExecutionCreate"]["properties"]["input"]["examples"][0]

    assert client.post("/api/v1/agents", json=example).status_code == 201
    path = f"/api/v1/agents/{example['agent_id']}/executions"
    execution = body(client.post(path, json={"input": given}))
    assert execution["steps"][0]["output"] == "Hello Ada!"


def strictly(schema: Any) -> Any:
    """Return *schema* with no object of known properties open for more."""
    if isinstance(schema, dict):
        closed = {key: strictly(value) for key, value in schema.items()}
        if schema.get("type") == "object" and "properties" in schema:
            closed["additionalProperties"] = False
        return closed
    return [strictly(each) for each in schema] if isinstance(schema, list) else schema
