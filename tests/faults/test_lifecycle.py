"""
Metrics while workers and arbiters come and go: exact, never less, and gauges of the living only.

Real services under a real load, with two scrapers beside it that parse what they get strictly.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.faults.counting import (
    PATH,
    assert_exact,
    counted,
    make_agent,
    running_agents,
    until_answered,
    until_replaced,
    until_workers_are,
)
from tests.faults.scraping import families, scraping
from tests.support.load import under_load
from tests.support.polling import wait_until
from tests.support.service import Service
from tests.support.stalls import scaled
from tests.support.upgrade import is_running, upgradable, upgraded

Start = Callable[..., Service]


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    return tmp_path / "metrics"


def test_reloads_under_load(start_service: Start) -> None:
    service = start_service()
    with scraping(service) as scrapes, under_load(service, PATH, clients=3) as load:
        for _ in range(2):
            before = set(service.workers())
            os.kill(service.arbiter, signal.SIGHUP)
            until_replaced(service, before)
        until_workers_are(service, 2)
    scrapes.assert_true()

    assert not load.failures
    assert not scrapes.cut_off
    assert_exact(service, load)


@pytest.mark.parametrize("goodbye", [signal.SIGTERM, signal.SIGQUIT])
def test_upgrade_of_the_arbiter(tmp_path: Path, goodbye: signal.Signals) -> None:
    """Old and new count side by side, then the old one goes: nobody starts from zero."""
    with (
        upgradable(tmp_path) as service,
        scraping(service) as scrapes,
        under_load(service, PATH, clients=2) as load,
    ):
        until_answered(load, 30)
        with upgraded(service) as successor:
            wait_until(lambda: service.sample("gunicorn_workers") == 4, seconds=40)
            beside = load.answers[200]
            until_answered(load, beside + 30)

            os.kill(service.arbiter, goodbye)
            service.process.wait(scaled(40))

            assert successor.is_running()
            wait_until(lambda: service.sample("gunicorn_workers") == 2)
            # A worker that was not there to see the old arbiter's share does not take it away.
            before = {each.pid for each in successor.children()}
            os.kill(min(before), signal.SIGKILL)
            wait_until(
                lambda: len({each.pid for each in successor.children()} - before) == 1, seconds=40
            )
            wait_until(lambda: service.sample("gunicorn_workers") == 2, seconds=40)
            alone = load.answers[200]
            until_answered(load, alone + 30)
            load.stop()
            # One is the scrape's own, another may be the scrapers'.
            wait_until(lambda: service.sample("http_requests_in_progress") <= 3)
            scrapes.assert_true()
            assert_exact(service, load)


def test_more_and_fewer_workers(start_service: Start) -> None:
    service = start_service(env={"WEB_CONCURRENCY": "2"})
    with scraping(service) as scrapes, under_load(service, PATH, clients=3) as load:
        for number, expected in (
            (signal.SIGTTIN, 3),
            (signal.SIGTTIN, 4),
            (signal.SIGTTOU, 3),
            (signal.SIGTTOU, 2),
        ):
            os.kill(service.arbiter, number)
            until_workers_are(service, expected)
    scrapes.assert_true()

    assert not load.failures
    assert_exact(service, load)


def test_recycled_workers_leave_no_files(start_service: Start, metrics: Path) -> None:
    """The files are as many as workers ran at once, however many there were."""
    service = start_service(
        env={"WEB_CONCURRENCY": "2", "PROMETHEUS_MULTIPROC_DIR": str(metrics)},
        args=["--max-requests", "40", "--max-requests-jitter", "10"],
    )
    with scraping(service) as scrapes, under_load(service, PATH, clients=3) as load:
        wait_until(
            lambda: service.sample("gunicorn_worker_exits_total", reason="recycled") >= 8,
            seconds=60,
        )
    scrapes.assert_true()

    assert not load.failures
    assert_exact(service, load)
    # The arbiter, two workers, two that are starting while those end.
    assert len(list(metrics.glob("counter_*.columnar"))) <= 5


def test_killed_workers(start_service: Start, metrics: Path) -> None:
    service = start_service(env={"WEB_CONCURRENCY": "3", "PROMETHEUS_MULTIPROC_DIR": str(metrics)})
    until_workers_are(service, 3)
    rng = random.Random(4)
    with scraping(service) as scrapes, under_load(service, PATH, clients=4) as load:
        for killed in range(1, 9):
            victim = rng.choice(service.workers())
            os.kill(victim, signal.SIGKILL)
            until_replaced(service, {victim})
            until_answered(load, 40 * killed)
    scrapes.assert_true()

    assert_exact(service, load)
    wait_until(lambda: service.sample("gunicorn_worker_exits_total", reason="killed") == 8)
    assert len(list(metrics.glob("counter_*.columnar"))) <= 1 + 2 * 3


def test_a_dead_workers_agents_are_not_active(start_service: Start) -> None:
    service = start_service(env={"WEB_CONCURRENCY": "2", "ATOM_THREADS": "3"})
    until_workers_are(service, 2)
    with running_agents(service, 6):  # every thread of both
        dying, living = service.workers()

        os.kill(dying, signal.SIGKILL)
        until_replaced(service, {dying})
        after_one = service.sample("active_agents")
        os.kill(living, signal.SIGKILL)
        until_replaced(service, {dying, living})
        after_both = service.sample("active_agents")

    assert after_one < 6
    assert after_both < 3
    assert service.sample("http_requests_in_progress") <= 1 + after_both, "one is the scrape itself"


@pytest.mark.parametrize("at_once", [True, False], ids=["at-once", "once-its-workers-are-gone"])
def test_a_killed_arbiters_successor_starts_at_zero(
    start_service: Start, metrics: Path, at_once: bool
) -> None:
    """Also while workers of the dead one still run: they count elsewhere or not at all."""
    env = {"WEB_CONCURRENCY": "2", "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
    first = start_service(env=env)
    with running_agents(first, 2, seconds=3.0):
        for _ in range(20):
            assert first.get(PATH).status == 200
        orphans = [psutil.Process(pid) for pid in first.workers()]

        first.process.kill()
        first.process.wait(scaled(10))
        if not at_once:
            wait_until(lambda: not any(map(is_running, orphans)), seconds=40)
        second = start_service(env=env)

        assert counted(second) == 0
        assert second.sample("active_agents") == 0
        second.get(PATH)
        wait_until(lambda: not any(map(is_running, orphans)), seconds=40)

    assert counted(second) == 1
    assert second.sample("active_agents") == 0
    assert second.total("agent_executions_total") == 0


def test_a_request_that_outlives_a_sync_workers_timeout_is_one_500(start_service: Start) -> None:
    service = start_service(
        env={"WEB_CONCURRENCY": "2"},
        args=["--worker-class", "sync", "--threads", "1", "--timeout", "2"],
    )
    make_agent(service, "endless", seconds=60)

    answer = service.post("/api/v1/agents/endless/executions", {"input": {}})

    assert answer.status == 500
    endpoint = "/api/v1/agents/<agent_id>/executions"
    assert service.total("http_requests_total", endpoint=endpoint) == 1
    assert service.total("http_requests_total", endpoint=endpoint, status="500") == 1
    labels = {"agent_id": "endless", "status": "error"}
    assert service.sample("agent_executions_total", **labels) == 1
    assert service.sample("active_agents") == 0
    wait_until(lambda: service.sample("gunicorn_worker_exits_total", reason="timeout") == 1)


def test_a_preloaded_application(start_service: Start) -> None:
    """The application is imported in the arbiter: what it made there is not counted into."""
    service = start_service(env={"WEB_CONCURRENCY": "3"}, args=["--preload"])
    until_workers_are(service, 3)
    with scraping(service) as scrapes, under_load(service, PATH, clients=3) as load:
        until_answered(load, 100)
        os.kill(service.workers()[0], signal.SIGKILL)
        until_answered(load, 200)
        until_workers_are(service, 3)
    scrapes.assert_true()

    assert_exact(service, load)


def test_what_is_known_beforehand_starts_at_zero(start_service: Start) -> None:
    """A share is then 0 and not absent, and the first event is an increase."""
    service = start_service()
    make_agent(service, "first")
    assert service.post("/api/v1/agents/first/executions", {"input": {}}).status == 201
    service.get(PATH)

    found = service.samples()

    def is_zero(name: str, **labels: str) -> bool:
        return found.get((name, frozenset(labels.items()))) == 0.0

    assert is_zero("http_requests_total", method="GET", endpoint=PATH, status="500")
    for status in ("failure", "error"):
        assert is_zero("agent_executions_total", agent_id="first", status=status)
        assert is_zero("skill_executions_total", skill_id="wait", status=status)
    assert is_zero("db_query_duration_seconds_count", operation="delete")
    for reason in ("recycled", "timeout", "killed", "out_of_memory", "crashed", "terminated"):
        assert is_zero("gunicorn_worker_exits_total", reason=reason)
    for kind in ("directory", "read", "write", "hook", "negotiation", "record"):
        assert is_zero("metric_errors_total", kind=kind)
    for reason in ("disconnect", "error"):
        assert is_zero("http_responses_aborted_total", reason=reason)
    assert is_zero("log_messages_total", level="CRITICAL")
    assert is_zero("metric_label_overflows_total", metric="agent_executions_total")
    assert is_zero("active_agents")


def test_process_metrics_are_the_whole_services(start_service: Start) -> None:
    began = time.time()
    service = start_service(env={"WEB_CONCURRENCY": "3"})
    until_workers_are(service, 3)

    family = [psutil.Process(pid) for pid in (service.arbiter, *service.workers())]
    resident = sum(each.memory_info().rss for each in family)
    files = sum(each.num_fds() for each in family)
    spent = sum(sum(each.cpu_times()[:2]) for each in family)
    found = {name: value for (name, labels), value in service.samples().items() if not labels}

    assert found["process_resident_memory_bytes"] == pytest.approx(resident, rel=0.15)
    assert abs(found["process_open_fds"] - files) <= 20
    tick = 0.01  # a sum of seconds may differ in its last bit from seconds of a sum of ticks
    assert spent - tick <= found["process_cpu_seconds_total"] <= 3 * spent + 5
    started_at = found["process_start_time_seconds"]
    assert began - 1 <= started_at <= time.time()

    dying = set(service.workers())
    for pid in dying:
        os.kill(pid, signal.SIGKILL)
    until_replaced(service, dying)
    until_workers_are(service, 3)

    assert service.sample("process_start_time_seconds") == started_at
    assert service.sample("process_cpu_seconds_total") >= found["process_cpu_seconds_total"]


def test_an_exemplar_is_shown_by_every_worker(start_service: Start) -> None:
    service = start_service(env={"WEB_CONCURRENCY": "3"})
    until_workers_are(service, 3)

    def shown() -> set[str]:
        return {
            sample.exemplar.labels["trace_id"]
            for family in families(service, strictly=True)
            if family.name == "http_request_duration_seconds"
            for sample in family.samples
            if sample.exemplar and sample.labels["endpoint"] == PATH
        }

    for number in range(1, 7):
        trace_id = f"{number:032x}"
        service.get(PATH, headers={"traceparent": f"00-{trace_id}-{number:016x}-01"})
        for _ in range(6):  # whichever worker answers
            assert trace_id in shown()
