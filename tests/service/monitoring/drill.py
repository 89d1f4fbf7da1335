"""
One drill: five services, a stack that watches them, every fault at once, and what came of it.

The faults run side by side because each takes its alert half a minute, even in quick motion.
"""

from __future__ import annotations

import contextlib
import http.client
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.service.monitoring.traffic import Traffic
from tests.support.monitoring_stack import Stack, quick, running_stack
from tests.support.polling import wait_until
from tests.support.postgres import PostgreSQL, running_postgresql
from tests.support.service import ROOT, Service
from tests.support.sources import dashboards
from tests.support.stalls import scaled

__all__ = ["EXPECTED", "Drill", "Expected", "drilled"]

#: An agent's run that ends as a skill's refusal, and one that succeeds.
REFUSES: Final = [{"skill": "fail", "with": {"message": "a drill"}}]
SUCCEEDS: Final = [{"skill": "render-template", "with": {"template": "done"}}]


@dataclass(frozen=True, slots=True)
class Expected:
    """An alert that the drill must bring, and what its labels must say; a service by its name."""

    alertname: str
    labels: tuple[tuple[str, str], ...] = ()


def _expected(alertname: str, **labels: str) -> Expected:
    return Expected(alertname, tuple(labels.items()))


#: Fault by fault.
EXPECTED: Final = (
    # The database of `unready` is stopped: its users get 503.
    _expected("ReadinessProbeFailing", instance="unready"),
    _expected("HighHTTPErrorRate"),
    _expected("AvailabilityBudgetBurn", long_window="1h", severity="critical"),
    # A table that `exhausted` needs is locked: its pool fills, its threads wait, its users too.
    _expected("DatabaseConnectionPoolExhausted", instance="exhausted"),
    _expected("RequestThreadsSaturated", instance="exhausted"),
    _expected("HighHTTPLatency"),
    _expected("LatencyBudgetBurn", long_window="1h", severity="critical"),
    # Agents of `crowded` refuse, and are too many to tell apart; its load balancer is behind.
    _expected("AgentFailureRatioHigh", agent_id="refuses"),
    _expected("MetricLabelOverflow", instance="crowded", metric="agent_executions_total"),
    _expected("RequestQueueTimeHigh", instance="crowded"),
    # Workers of `crashing` are killed, one after the other.
    _expected("WorkerCrashLooping", instance="crashing"),
    # All of `gone` is killed.
    _expected("TargetDown", instance="gone"),
)


@dataclass(slots=True)
class Course:
    """When an alert did what, in seconds since the faults began."""

    pending: float | None = None
    firing: float | None = None
    arrived: float | None = None
    resolved: float | None = None


@dataclass(slots=True)
class Drill:
    """
    What the drill saw.

    Attributes:
        before: Names of the alerts that were pending or firing while all was well.
        courses: What each expected alert did.
        heartbeats: How often the dead man's switch was told that all is well.
        inhibited: Names of the alerts that Alertmanager kept to itself.
        queries: For each query of each dashboard, whether it found a number.
        exemplars: Trace ids that Prometheus found beside the request histogram.
        text: The metrics in the text format.
        all_down: Whether the end of everything arrived as one alert.
    """

    before: set[str] = field(default_factory=set)
    courses: dict[Expected, Course] = field(default_factory=dict)
    heartbeats: int = 0
    inhibited: set[str] = field(default_factory=set)
    queries: dict[str, bool] = field(default_factory=dict)
    exemplars: set[str] = field(default_factory=set)
    text: str = ""
    all_down: bool = False

    def log(self) -> str:
        """Return the course of every alert as a table."""
        lines = [f"{'alert':36} {'pending':>8} {'firing':>8} {'arrived':>8} {'resolved':>8}"]
        for expected, course in self.courses.items():
            times = (course.pending, course.firing, course.arrived, course.resolved)
            shown = " ".join("       –" if at is None else f"{at:7.1f}s" for at in times)
            lines.append(f"{expected.alertname:36} {shown}")
        return "\n".join(lines)


class Watch:
    """Notes when the expected alerts turn up in Prometheus, arrive at the webhook, and resolve."""

    def __init__(self, stack: Stack, names: dict[str, str]) -> None:
        self.courses = {expected: Course() for expected in EXPECTED}
        self._stack = stack
        self._names = names
        self._began = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(scaled(30))

    def all_arrived(self) -> bool:
        return all(course.arrived is not None for course in self.courses.values())

    def all_resolved(self) -> bool:
        return all(
            course.resolved is not None or course.arrived is None
            for course in self.courses.values()
        )

    def _run(self) -> None:
        while not self._over.wait(0.3):
            now = time.monotonic() - self._began
            for alert in self._stack.alerts():
                for course in self._of(alert["labels"]):
                    if course.pending is None:
                        course.pending = now
                    if alert["state"] == "firing" and course.firing is None:
                        course.firing = now
            for alert in list(self._stack.received):
                for course in self._of(alert["labels"]):
                    if alert["status"] == "firing" and course.arrived is None:
                        course.arrived = now
                    if alert["status"] == "resolved" and course.resolved is None:
                        course.resolved = now

    def _of(self, labels: dict[str, str]) -> Iterator[Course]:
        for expected, course in self.courses.items():
            wanted = {label: self._names.get(value, value) for label, value in expected.labels}
            if {"alertname": expected.alertname, **wanted}.items() <= labels.items():
                yield course


@contextlib.contextmanager
def services(directory: Path, ours: PostgreSQL, shared: PostgreSQL) -> Iterator[dict[str, Service]]:
    """Run the five services of the drill, by what will happen to them."""
    urls = {
        "unready": ours.create_database("unready"),
        "exhausted": shared.create_database("drill"),
    }
    for url in urls.values():
        subprocess.run(
            [sys.executable, "-m", "atom_platform", "migrate"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "DATABASE_URL": url},
            check=True,
            capture_output=True,
            timeout=scaled(60),
        )
    env = {
        "unready": {"DATABASE_URL": urls["unready"], "WEB_CONCURRENCY": "1"},
        "exhausted": {
            "DATABASE_URL": urls["exhausted"],
            "WEB_CONCURRENCY": "1",
            "ATOM_THREADS": "12",
            "ATOM_DB_POOL_SIZE": "2",
            "ATOM_DB_POOL_TIMEOUT_SECONDS": "1.5",
            "ATOM_DB_QUERY_TIMEOUT_SECONDS": "120",
        },
        "crowded": {"WEB_CONCURRENCY": "1", "ATOM_METRICS_MAX_IDS": "3"},
        "crashing": {"WEB_CONCURRENCY": "2"},
        "gone": {"WEB_CONCURRENCY": "1"},
    }
    with contextlib.ExitStack() as stack:
        started = {}
        for name, settings in env.items():
            (directory / name).mkdir()
            service = started[name] = Service(directory / name, env=settings)
            stack.callback(service.kill)
            service.start(wait=False)
        for service in started.values():
            wait_until(partial(_is_up, service), seconds=60)
        for agent_id in ("refuses", "succeeds"):
            _save_agent(started["crowded"], agent_id, SUCCEEDS)
        yield started


def _is_up(service: Service) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return service.get("/health/startup").status == 200
    return False


def drilled(directory: Path, shared: PostgreSQL) -> Drill:
    """Hold the drill, and return what was seen."""
    drill = Drill()
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(running_postgresql())
        running = stack.enter_context(services(directory, ours, shared))
        names = {name: f"127.0.0.1:{service.port}" for name, service in running.items()}
        watched = stack.enter_context(running_stack(directory, list(names.values())))
        for service in running.values():
            stack.enter_context(Traffic(service, _browse, pause_seconds=1))
        stack.enter_context(Traffic(running["crowded"], _succeed, pause_seconds=1))
        began = time.time()
        drill.before = _calm(watched, len(names))
        drill.text = running["crowded"].get("/health/metrics").body.decode()
        drill.exemplars = _exemplars(watched)

        with Watch(watched, names) as watch:
            drill.courses = watch.courses
            with _faults(running, ours, shared, watch):
                _wait(watch.all_arrived, seconds=75)
                drill.inhibited = {
                    alert["labels"]["alertname"]
                    for alert in watched.held()
                    if alert["status"]["inhibitedBy"]
                }
            _wait(watch.all_resolved, seconds=75)
        drill.queries = _ask_dashboards(watched, since=began)
        drill.heartbeats = sum(each["alertname"] == "Watchdog" for each in watched.received)

        for service in running.values():
            service.kill()
        drill.all_down = _wait(
            lambda: any(each["alertname"] == "AllTargetsDown" for each in watched.received),
            seconds=30,
        )
    return drill


def _calm(stack: Stack, targets: int) -> set[str]:
    """Let the traffic run for as long as the rules look back, and return what was alerted."""
    up = f"count(up{{job='atom-platform'}} == 1) == {targets}"
    wait_until(lambda: (_value(stack, f"count_over_time(({up})[12s:1s])") or 0) >= 12, seconds=60)
    return {alert["labels"]["alertname"] for alert in stack.alerts()}


@contextlib.contextmanager
def _faults(
    running: dict[str, Service], ours: PostgreSQL, shared: PostgreSQL, watch: Watch
) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        running["gone"].kill()
        ours.stop("immediate")
        lock = stack.enter_context(psycopg.connect(shared.url("drill")))
        lock.execute("LOCK TABLE agents IN ACCESS EXCLUSIVE MODE")
        stack.enter_context(Traffic(running["exhausted"], _browse, threads=16, pause_seconds=0.05))
        _save_agent(running["crowded"], "refuses", REFUSES)
        stack.enter_context(Traffic(running["crowded"], _refuse, pause_seconds=0.5))
        stack.enter_context(Traffic(running["crashing"], _kill_worker, pause_seconds=1.5))
        yield
        lock.rollback()
    ours.start()
    running["gone"].start(wait=False)
    _save_agent(running["crowded"], "refuses", SUCCEEDS)
    for _ in range(100):
        running["crowded"].post("/api/v1/agents/refuses/executions", {"input": {}})


def _save_agent(service: Service, agent_id: str, steps: Sequence[dict[str, Any]]) -> None:
    """Create the agent, or give it other steps."""
    body = {"name": agent_id, "steps": steps}
    if service.request("PUT", f"/api/v1/agents/{agent_id}", body).status == 404:
        service.post("/api/v1/agents", {"agent_id": agent_id, **body})


def _browse(service: Service) -> None:
    service.get(
        "/api/v1/agents",
        headers={"traceparent": f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-01"},
        timeout=scaled(30),
    )
    service.get("/health/live")
    service.get("/health/ready")


def _succeed(service: Service) -> None:
    service.post("/api/v1/agents/succeeds/executions", {"input": {}})


def _refuse(service: Service) -> None:
    """Refusals, more agents than the metrics may tell apart, and requests that had to wait."""
    service.post("/api/v1/agents/refuses/executions", {"input": {}})
    agent_id = f"passing-{os.urandom(4).hex()}"
    _save_agent(service, agent_id, SUCCEEDS)
    service.post(f"/api/v1/agents/{agent_id}/executions", {"input": {}})
    service.get("/api/v1/agents", headers={"X-Request-Start": f"t={time.time() - 0.4:.3f}"})


def _kill_worker(service: Service) -> None:
    """Kill the youngest: with none left that is old enough to answer, the whole target is down."""
    for worker in service.workers()[-1:]:
        os.kill(worker, signal.SIGKILL)


def _exemplars(stack: Stack) -> set[str]:
    end = time.time()
    found = stack.query(
        "query_exemplars",
        query='http_request_duration_seconds_bucket{job="atom-platform"}',
        start=end - 60,
        end=end,
    )
    return {each["labels"]["trace_id"] for series in found for each in series["exemplars"]}


def _ask_dashboards(stack: Stack, *, since: float) -> dict[str, bool]:
    """Ask every query of every dashboard as Grafana would, in quick motion, over all of it."""
    answered = {}
    for uid, dashboard in dashboards().items():
        queries = {
            f"{uid}: {panel['title']} {target['refId']}": target["expr"]
            for panel in dashboard["panels"]
            for target in panel.get("targets", [])
        }
        queries |= {f"{uid}: {a['name']}": a["expr"] for a in dashboard["annotations"]["list"]}
        for where, expr in queries.items():
            expr = quick(expr.replace("$__rate_interval", "10m")).replace(
                '"$job"', '"atom-platform"'
            )
            for variable in ("instance", "endpoint", "agent", "skill"):
                expr = expr.replace(f'"${variable}"', '".+"')
            found = stack.query("query_range", query=expr, start=since, end=time.time(), step=1)
            answered[where] = any(
                math.isfinite(float(value))
                for series in found["result"]
                for _, value in series["values"]
            )
    return answered


def _value(stack: Stack, expr: str) -> float | None:
    result = stack.query("query", query=expr)["result"]
    return float(result[0]["value"][1]) if result else None


def _wait(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Like `wait_until`, but what did not happen is for the tests to say."""
    with contextlib.suppress(AssertionError):
        return wait_until(condition, seconds=seconds, every=0.3)
    return False
