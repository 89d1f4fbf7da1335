"""Whatever is sent, the API answers 2xx or a problem of 4xx; it never breaks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from tests.support.api import Api, body, step
from tests.support.examples import examples

#: The fixtures' rows may stay between examples: what is asked is only whether anything breaks.
NO_BREAK = settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=20)
    | st.sampled_from(
        ["{{ input }}", "{{ steps }}", "{% for x in input %}", "\x00", "echo", "wait"]
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
STEPS = st.fixed_dictionaries(
    {},
    optional={
        "skill": st.sampled_from(["echo", "wait", "fail", "send-email", "http-request"]) | VALUES,
        "with": st.dictionaries(st.sampled_from(["value", "seconds", "to", "url"]), VALUES)
        | VALUES,
        "other": VALUES,
    },
)
AGENTS = st.fixed_dictionaries(
    {},
    optional={
        "agent_id": st.from_regex("[a-z0-9-]{1,64}", fullmatch=True) | VALUES,
        "name": st.text(max_size=20) | VALUES,
        "steps": st.lists(STEPS | VALUES, max_size=3) | VALUES,
        "other": VALUES,
    },
)


def assert_unbroken(answer: TestResponse) -> None:
    text = answer.get_data(as_text=True)
    assert answer.status_code < 500, text
    if answer.status_code >= 400:
        assert answer.content_type == "application/problem+json"
        assert json.loads(text)["status"] == answer.status_code


def written(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True).encode()


@NO_BREAK
@given(sent=st.one_of(AGENTS | VALUES).map(written) | st.binary(max_size=200))
def test_creating(client: FlaskClient, sent: bytes) -> None:
    assert_unbroken(client.post("/api/v1/agents", data=sent, content_type="application/json"))


@NO_BREAK
@given(sent=AGENTS.map(written))
def test_replacing(client: FlaskClient, sent: bytes) -> None:
    assert_unbroken(client.put("/api/v1/agents/some", data=sent, content_type="application/json"))


@NO_BREAK
@given(given_=VALUES)
def test_running(api: Api, given_: Any) -> None:
    if api.client.get("/api/v1/agents/some").status_code == 404:
        api.create("some", step("echo", value=["{{ input }}", "{{ input.a.b }}"]))

    answer = api.client.post(
        "/api/v1/agents/some/executions",
        data=written({"input": given_}),
        content_type="application/json",
    )

    assert_unbroken(answer)
    assert_unbroken(api.client.get("/api/v1/agents/some/executions?limit=1"))


@NO_BREAK
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]),
    rest=st.text(st.characters(codec="utf-8"), max_size=30),
    query=st.dictionaries(st.sampled_from(["limit", "cursor", "x"]), st.text(max_size=20)),
)
def test_asking_for_anything(
    client: FlaskClient, method: str, rest: str, query: dict[str, str]
) -> None:
    path = "/api/v1/" + rest.replace("?", "").replace("#", "")
    answer = client.open(path, method=method, query_string=query)

    if method != "HEAD" and not 300 <= answer.status_code < 400:
        assert_unbroken(answer)


@pytest.mark.parametrize("value", ["\x00", "a\x00b", "\ud800", {"\x00": 1}, {"a": ["\udfff"]}])
def test_what_a_database_cannot_keep_is_refused(api: Api, value: Any) -> None:
    api.create("some", step("echo"))

    for sent in ({"input": {"a": value}}, {"input": {"deep": [{"er": value}]}}):
        answer = api.client.post(
            "/api/v1/agents/some/executions", data=written(sent), content_type="application/json"
        )

        assert answer.status_code == 422


def test_a_number_beyond_all_numbers_is_refused(api: Api) -> None:
    """JSON can write it, Python reads it as infinity, and JSON cannot write that."""
    api.create("some", step("echo"))

    answer = api.client.post(
        "/api/v1/agents/some/executions",
        data=b'{"input": {"a": [1e999]}}',
        content_type="application/json",
    )

    assert answer.status_code == 422
    assert body(answer)["errors"][0]["pointer"] == "/input/a/0"
