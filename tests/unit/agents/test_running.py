"""A run, its stored execution, and its status: success, failure or error."""

from __future__ import annotations

import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from atom_platform.agents.service import AgentService
from atom_platform.skills.registry import Skill, SkillRegistry
from tests.support.api import Api, step
from tests.support.skills import Anything, Gate
from tests.support.stalls import scaled

TIMESTAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def test_an_execution_looks_as_promised(api: Api) -> None:
    api.create("greeter", step("render-template", template="Hello {{ input.name }}!"))

    execution = api.run("greeter", name="Ada")

    assert list(execution) == [
        *("execution_id", "agent_id", "status", "started_at", "finished_at", "duration_ms"),
        "steps",
    ]
    (only,) = execution["steps"]
    assert list(only) == ["skill", "status", "duration_ms", "output", "error"]
    assert (execution["agent_id"], execution["status"]) == ("greeter", "success")
    assert (only["skill"], only["status"]) == ("render-template", "success")
    assert (only["output"], only["error"]) == ("Hello Ada!", None)
    assert re.fullmatch(TIMESTAMP, execution["started_at"])
    assert execution["started_at"] <= execution["finished_at"]
    assert 0 < only["duration_ms"] <= execution["duration_ms"]


def test_steps_see_earlier_outputs(api: Api) -> None:
    execution = api.run_once(
        step("echo", value={"n": [1, 2]}),
        step("echo", value="text"),
        step(
            "echo",
            value=[
                "{{ steps[0].output.n[1] }} {{ steps[0].n[0] }} {{ steps[1] }} {{ steps[0] }}",
                "{{ steps.echo.output }} {{ steps['echo'] }} {{ steps | length }}",
                "{% for s in steps %}{{ s.skill }},{% endfor %}",
            ],
        ),
    )

    assert execution["steps"][2]["output"] == [
        '2 1 text {"n": [1, 2]}',
        "text text 2",
        "echo,echo,",
    ]


def test_values_that_are_not_text_pass_as_they_are(api: Api) -> None:
    value = {"a": [1, 2.5, None, True, {"b": "{{ input.x }}"}], "big": 10**30}

    execution = api.run_once(step("echo", value=value), x=[1])

    assert execution["steps"][0]["output"] == {
        "a": [1, 2.5, None, True, {"b": "[1]"}],
        "big": 10**30,
    }


def test_what_a_caller_sends_is_never_a_template(api: Api) -> None:
    execution = api.run_once(
        step("render-template", template="{{ input.text }}"),
        step("render-template", template="{{ steps[0].output }}"),
        text="{{ 7 * 7 }}",
    )

    assert [each["output"] for each in execution["steps"]] == ["{{ 7 * 7 }}"] * 2


def test_failure_ends_the_run(api: Api) -> None:
    execution = api.run_once(
        step("echo", value=1),
        step("fail", message="no {{ input.what }}"),
        step("echo", value=2),
        what="milk",
    )

    assert execution["status"] == "failure"
    assert [each["status"] for each in execution["steps"]] == ["success", "failure"]
    assert execution["steps"][1]["error"] == "no milk"
    assert execution["steps"][1]["output"] is None


def test_an_exception_is_an_error_and_tells_no_secret(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    execution = api.run_once(step("crash"), step("echo"))

    assert execution["status"] == "error"
    (only,) = execution["steps"]
    assert only["status"] == "error"
    assert only["error"] == "RuntimeError: the skill raised an exception; see the log."
    (line,) = [record for record in caplog.records if record.message == "skill_error"]
    assert line.levelno == logging.ERROR
    assert line.exc_info is not None
    assert vars(line)["skill_id"] == "crash"


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (step("echo", value="{{ input.nothing }}"), r"^value: .* has no attribute 'nothing'$"),
        (step("echo", value="{{ ''.__class__ }}"), r"^value: .* is unsafe\.$"),
        (step("echo", value="{{ 'x' * 10**9 }}"), r"^value: makes more text"),
        (step("wait", seconds="{{ input.long }}"), r"^seconds: Input should be less than or equal"),
        (step("wait", seconds="{{ input.word }}"), r"^seconds: Input should be a valid number"),
        (
            step("send-email", to="a@b.c", subject="{{ input.lines }}", body=""),
            r"^subject: one line, without control characters$",
        ),
    ],
)
def test_what_only_the_run_can_tell_is_an_error(api: Api, broken: Any, sentence: str) -> None:
    execution = api.run_once(broken, long=61, word="soon", lines="Hi\r\nBcc: eve@b.c")

    assert execution["status"] == "error"
    assert re.search(sentence, execution["steps"][0]["error"])


def test_a_skill_that_is_gone_is_an_error(api: Api, skills: SkillRegistry) -> None:
    skills.register(Skill("passing", "", Anything, lambda asked: None))
    api.create("once", step("passing"))
    del skills._skills["passing"]

    execution = api.run("once")

    assert execution["steps"][0]["error"] == "There is no skill with this id any more."


def test_what_ends_a_process_is_kept_and_goes_on(api: Api, service: AgentService) -> None:
    api.create("once", step("echo", value=1), step("leave"))

    with pytest.raises(SystemExit):
        service.run("once", {})

    (kept,) = service.executions("once", limit=5)
    assert kept.status == "error"
    assert [each.status for each in kept.steps] == ["success", "error"]


def test_odd_outputs_are_kept(api: Api) -> None:
    execution = api.run_once(
        step("odd"), step("huge"), step("echo", value="{{ steps.huge.status }}")
    )

    assert execution["status"] == "success"
    odd, huge, status = (each["output"] for each in execution["steps"])
    assert odd == {
        "bytes": "b'\\x00'",
        "text": "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b",
        "number": None,
        "set": "{1}",
    }
    assert huge["body"].endswith("… [cut, 1000000 characters]")
    assert status == "200"
    answer = api.client.get(f"/api/v1/executions/{execution['execution_id']}")
    assert answer.json == execution


def test_lines_logged_in_a_run_name_it(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "atom_platform.agents")

    execution = api.run_once(step("context"))

    assert execution["steps"][0]["output"] == {
        "agent_id": "once",
        "execution_id": execution["execution_id"],
    }
    lines = [record for record in caplog.records if record.name == "atom_platform.agents"]
    assert [line.message for line in lines] == ["Agent started", "agent_finished"]
    assert vars(lines[1])["status"] == "success"
    assert vars(lines[1])["duration_ms"] == execution["duration_ms"]


def test_an_agent_without_steps_succeeds(api: Api) -> None:
    assert api.run_once()["status"] == "success"


def test_an_agent_may_run_twice_at_once_and_be_deleted_meanwhile(
    api: Api, service: AgentService, skills: SkillRegistry
) -> None:
    gate = Gate()
    skills.register(Skill("gate", "", Anything, gate))
    api.create("once", step("gate"))

    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(service.run, "once", {}) for _ in range(2)]
        try:
            for _ in runs:
                assert gate.arrived.acquire(timeout=scaled(10))
            assert api.client.delete("/api/v1/agents/once").status_code == 204
        finally:
            gate.open.set()
        statuses = [run.result(20).status for run in runs]

    assert statuses == ["success", "success"]
    assert len(service.executions("once", limit=5)) == 2
    assert threading.active_count() < 50
