"""What a test does with a service to have something counted, and reads off it afterwards."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.faults.scraping import lost
from tests.support.load import Load
from tests.support.polling import wait_until
from tests.support.service import Service

__all__ = [
    "PATH",
    "assert_exact",
    "counted",
    "make_agent",
    "running_agents",
    "until_answered",
    "until_replaced",
    "until_workers_are",
]

#: What the load asks for; its rule is its path, and it needs no database.
PATH = "/api/v1/skills"


def counted(service: Service, **labels: str) -> float:
    """Return how many requests of the load's path were counted."""
    return service.total("http_requests_total", endpoint=PATH, **labels)


def assert_exact(service: Service, load: Load) -> None:
    """Every answer was counted; what got none was counted at most once."""
    answered = sum(load.answers.values())
    found = counted(service)

    assert set(load.answers) == {200}
    assert answered <= found <= answered + lost(load), load.failures
    observed = service.total("http_request_duration_seconds_count", endpoint=PATH)
    assert abs(observed - found) <= lost(load)


def make_agent(service: Service, agent_id: str, *, seconds: float = 0.0) -> None:
    """Store an agent that waits for *seconds*."""
    steps = [{"skill": "wait", "with": {"seconds": seconds}}]
    agent = {"agent_id": agent_id, "name": agent_id, "steps": steps}
    made = service.post("/api/v1/agents", agent)
    assert made.status == 201, made


def _run(service: Service, agent_id: str) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        service.post(f"/api/v1/agents/{agent_id}/executions", {"input": {}}, timeout=60)


@contextmanager
def running_agents(service: Service, count: int, *, seconds: float = 30.0) -> Iterator[None]:
    """
    Have *count* agents running, and do not wait for them at the end.

    A worker whose threads are busy may still take a request, which then waits there; so there may
    be a few more that have not begun.
    """
    make_agent(service, "sleeper", seconds=seconds)
    asked_at = 0.0

    def running() -> bool:
        nonlocal asked_at
        if service.sample("active_agents") >= count:
            return True
        if time.monotonic() > asked_at + 2.0:
            asked_at = time.monotonic()
            for _ in range(count - int(service.sample("active_agents"))):
                threading.Thread(target=_run, args=(service, "sleeper"), daemon=True).start()
        return False

    wait_until(running)
    yield


def until_workers_are(service: Service, count: int) -> None:
    """Wait until so many run, and have said so."""
    wait_until(
        lambda: len(service.workers()) == count and service.sample("gunicorn_workers") == count,
        seconds=40,
    )


def until_replaced(service: Service, workers: set[int]) -> None:
    """
    Wait until none of *workers* is left, and others are there.

    A process whose first thread is dead already looks like a zombie while the others still hold its
    files and locks: only one that was reaped is gone.
    """
    wait_until(lambda: service.workers() and not any(map(psutil.pid_exists, workers)), seconds=40)


def until_answered(load: Load, count: int) -> None:
    """Wait until the load has got more than *count* answers."""
    wait_until(lambda: load.answers[200] > count, seconds=40)
