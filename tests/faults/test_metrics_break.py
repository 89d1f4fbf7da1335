"""An exception from anywhere in the metrics never reaches a request, a worker or the arbiter."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.counting import PATH, make_agent, until_replaced
from tests.support.polling import wait_until
from tests.support.service import Service

Start = Callable[..., Service]

#: The arbiter, two workers, the killed one's successor, and two after the reload.
PROCESSES = 6


@pytest.mark.parametrize(
    "part", ["cell", "heartbeat", "observation", "id", "note", "value", "scrape"]
)
def test_a_part_that_raises(start_service: Start, tmp_path: Path, part: str) -> None:
    """Preloaded, so that the arbiter has the fault as well; workers start and die with it."""
    fault = tmp_path / "fault"
    fault.touch()
    service = start_service(
        app="tests.faults.faulty:app",
        env={"FAULT": part, "FAULT_WHILE": str(fault), "WEB_CONCURRENCY": "2"},
        args=["--preload"],
    )

    make_agent(service, "worker")
    ran = [service.post("/api/v1/agents/worker/executions", {"input": {}})]
    victim = service.workers()[0]
    os.kill(victim, signal.SIGKILL)
    until_replaced(service, {victim})
    answers = [service.get(path).status for path in [PATH, "/health/live", "/nope"] * 10]
    before = set(service.workers())
    os.kill(service.arbiter, signal.SIGHUP)
    until_replaced(service, before)
    ran.append(service.post("/api/v1/agents/worker/executions", {"input": {}}))

    assert [(each.status, each.json()["status"]) for each in ran] == [(201, "success")] * 2
    assert answers == [200, 200, 404] * 10
    assert service.process.poll() is None
    ends = {line["reason"] for line in service.logged("worker_exited")}
    assert ends <= {"killed", "terminated"}
    told = Counter(
        (line["event"], line.get("path")) for line in service.log() if line["level"] == "ERROR"
    )
    assert part == "scrape" or max(told.values(), default=0) <= PROCESSES

    fault.unlink()

    assert service.get("/health/metrics").status == 200
    assert service.sample("active_agents") == 0
    if part in ("cell", "heartbeat", "observation", "id"):
        wait_until(lambda: service.sample("metric_errors_total", kind="record") > 0)
