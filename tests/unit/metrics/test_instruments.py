"""A scrape shows what was counted, and counting never raises or blocks."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from atom_platform.metrics import http_metrics, instruments, label_limits, track
from atom_platform.metrics.storage.storage import STORAGE
from tests.support.records import count_request
from tests.unit.metrics.conftest import Samples

Collected = Callable[[], Samples]


def at(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted(labels.items()))


def test_a_request_changes_counter_sum_and_bucket(collected: Collected) -> None:
    count_request("GET", "/a", 200, 0.01)
    count_request("GET", "/a", 200, 0.011)
    count_request("GET", "/a", 404, 20)

    found = collected()

    assert found[at("http_requests_total", method="GET", endpoint="/a", status="200")] == 2
    assert found[at("http_requests_total", method="GET", endpoint="/a", status="404")] == 1
    name, labels = "http_request_duration_seconds", {"method": "GET", "endpoint": "/a"}
    assert found[at(f"{name}_count", **labels)] == 3
    assert found[at(f"{name}_sum", **labels)] == pytest.approx(20.021)
    buckets = {
        dict(its)["le"]: value for (each, its), value in found.items() if each == f"{name}_bucket"
    }
    assert buckets["0.005"] == 0
    assert buckets["0.01"] == 1  # the bound belongs to the bucket
    assert buckets["0.025"] == 2
    assert buckets["10.0"] == 2
    assert buckets["+Inf"] == 3


def test_the_error_counter_starts_at_zero_with_the_first_request(collected: Collected) -> None:
    """An error ratio is then 0, not absent, and the first error is an increase."""
    count_request("GET", "/a", 200, 0.01)

    assert collected()[at("http_requests_total", method="GET", endpoint="/a", status="500")] == 0


def test_unknown_methods_share_one_label_and_take_no_memory(
    collected: Collected,
) -> None:
    from atom_platform.metrics import http_metrics

    for number in range(500):
        count_request(f"BREW{number}", "/a", 200, 0.01)

    assert (
        collected()[at("http_requests_total", method="OTHER", endpoint="/a", status="200")] == 500
    )
    assert len(http_metrics._request_cells) == 1


@pytest.mark.parametrize("duration", [-1.0, math.nan, -math.inf])
def test_an_invalid_duration_counts_as_zero(collected: Collected, duration: float) -> None:
    count_request("GET", "/a", 200, duration)
    http_metrics.observe_queue(duration)

    assert collected()[at("http_request_queue_seconds_sum")] == 0.0
    assert collected()[at("http_request_duration_seconds_sum", method="GET", endpoint="/a")] == 0.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: count_request(None, None, None, None),  # type: ignore[arg-type]
        lambda: count_request("GET", "\ud800", 200, 0.1),
        lambda: count_request([], {}, "x", "y"),  # type: ignore[arg-type]
        lambda: count_request("GET", "/a", 200, 0.1, trace_id="no trace"),
        lambda: http_metrics.add_in_progress("x"),  # type: ignore[arg-type]
        lambda: http_metrics.observe_queue("x"),  # type: ignore[arg-type]
        lambda: http_metrics.count_exception(object(), object()),  # type: ignore[arg-type]
        lambda: http_metrics.count_aborted(object()),  # type: ignore[arg-type]
        lambda: instruments.count_log_message([]),  # type: ignore[arg-type]
        lambda: instruments.count_log_drop([], "x"),  # type: ignore[arg-type]
        lambda: instruments.count_metric_error([]),  # type: ignore[arg-type]
        lambda: instruments.count_worker_exit([]),  # type: ignore[arg-type]
        lambda: instruments.set_threads("x"),  # type: ignore[arg-type]
        lambda: instruments.set_db_pool(active="x", idle=None, maximum=[], waiting={}),  # type: ignore[arg-type]
        lambda: instruments.record_check(object(), "x", "y"),  # type: ignore[arg-type]
        lambda: instruments.set_app_info(object(), None, []),  # type: ignore[arg-type]
        lambda: track.observe_query(None, "x"),  # type: ignore[arg-type]
    ],
)
def test_wrong_arguments_do_not_raise(call: Callable[[], Any], collected: Collected) -> None:
    call()
    instruments.heartbeat()

    for name, labels in collected():
        assert (name + str(labels)).encode()


def test_failures_are_counted_and_logged_once(
    collected: Collected, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        count_request("GET", "/a", 200, "long")  # type: ignore[arg-type]
    instruments.heartbeat()

    assert collected()[at("metric_errors_total", kind="record")] == 3
    assert [record.message for record in caplog.records] == ["metric_not_recorded"]


def test_every_function_changes_its_metric(collected: Collected) -> None:
    http_metrics.add_in_progress(1)
    http_metrics.add_in_progress(1)
    http_metrics.add_in_progress(-1)
    instruments.set_db_pool(active=1, idle=2, maximum=5, waiting=3)
    instruments.set_threads(4)
    instruments.set_threads_busy(3)
    instruments.worker_started()
    instruments.worker_started()
    instruments.record_check("database", False, 0.2)
    instruments.set_app_info("1.2", "3.11", "abc")
    instruments.count_log_message("ERROR")
    instruments.count_log_drop("queue_full", 7)
    instruments.count_worker_exit("timeout")
    instruments.count_worker_exit("no reason of the catalog")
    http_metrics.count_aborted("disconnect")
    instruments.count_metric_error("hook")
    http_metrics.observe_queue(0.3)
    http_metrics.count_exception("/a", "ValueError")

    found = collected()

    assert found[at("http_requests_in_progress")] == 1
    assert found[at("gunicorn_worker_exits_total", reason="unknown")] == 1
    assert found[at("db_connections_active")] == 1
    assert found[at("db_connections_idle")] == 2
    assert found[at("db_connections_max")] == 5
    assert found[at("db_connections_waiting")] == 3
    assert found[at("gunicorn_threads")] == 4
    assert found[at("gunicorn_threads_busy")] == 3
    assert found[at("gunicorn_workers")] == 1
    assert found[at("health_check_healthy", check="database")] == 0
    assert found[at("health_check_duration_seconds_count", check="database")] == 1
    assert found[at("app_info", version="1.2", python="3.11", revision="abc")] == 1
    assert found[at("log_messages_total", level="ERROR")] == 1
    assert found[at("log_lines_dropped_total", reason="queue_full")] == 7
    assert found[at("gunicorn_worker_exits_total", reason="timeout")] == 1
    assert found[at("http_responses_aborted_total", reason="disconnect")] == 1
    assert found[at("metric_errors_total", kind="hook")] == 1
    assert found[at("http_request_queue_seconds_count")] == 1
    assert found[at("http_exceptions_total", endpoint="/a", exception="ValueError")] == 1


def test_exception_names_are_limited(collected: Collected) -> None:
    label_limits.set_max_values(3)
    for number in range(10):
        http_metrics.count_exception("/a", f"Error{number}")

    found = collected()

    assert found[at("http_exceptions_total", endpoint="/a", exception="other")] == 7
    assert found[at("metric_label_overflows_total", metric="http_exceptions_total")] == 7


def test_requests_of_eight_threads_are_all_counted(collected: Collected) -> None:
    def run() -> None:
        for _ in range(3000):
            count_request("GET", "/a", 200, 0.01)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = collected()

    assert found[at("http_requests_total", method="GET", endpoint="/a", status="200")] == 24000
    assert found[at("http_request_duration_seconds_count", method="GET", endpoint="/a")] == 24000


def test_counting_a_request_costs_microseconds() -> None:
    """About 2 µs of CPU; caches that other processes share make it more."""

    def cost() -> float:
        started_at = time.thread_time()
        for _ in range(2000):
            count_request("GET", "/a", 200, 0.01)
        return (time.thread_time() - started_at) / 2000

    cost()

    assert min(cost() for _ in range(20)) < 20e-6


def test_a_log_handler_that_counts_cannot_deadlock_with_a_thread_that_counts(
    tmp_path: Any,
) -> None:
    """Handlers count lines under their own lock, so nothing is logged under `STORAGE.lock`."""
    import logging

    class Counting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            instruments.count_log_message("ERROR")

    logger, handler = logging.getLogger("atom_platform.metrics"), Counting()
    logger.addHandler(handler)
    try:
        STORAGE.switch_to(tmp_path)
        (tmp_path / "counter_slot0.columnar").write_bytes(b"")
        with handler.lock or threading.RLock():
            other = threading.Thread(
                target=count_request, args=("GET", "/a", 200, 0.1), daemon=True
            )
            other.start()
            other.join(10)
            assert not other.is_alive()
        instruments.heartbeat()
    finally:
        logger.removeHandler(handler)
