"""`demo-load` causes every outcome of an execution, and no 500."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from atom_platform.cli import main
from tests.support.ports import free_port
from tests.support.service import Service


def test_every_outcome_appears(start_service: Callable[..., Service]) -> None:
    service = start_service()

    arguments = ["demo-load", "--port", str(service.port), "--seconds", "5", "--rate", "80"]
    assert main(arguments) == 0
    assert main([*arguments[:-4], "--seconds", "0.1"]) == 0, "a second time finds its agents"

    outcome = "agent_executions_total"
    assert service.sample(outcome, agent_id="demo-greeter", status="success") > 0
    assert service.sample(outcome, agent_id="demo-refusing", status="failure") > 0
    assert service.total("http_requests_total", status="404") > 0
    assert service.total("http_requests_total", status="500") == 0


def test_reports_a_port_without_a_service(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()

    assert main(["demo-load", "--port", str(port)]) == 1

    assert f"127.0.0.1:{port} answered 0" in capsys.readouterr().out
