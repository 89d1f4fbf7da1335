"""The prober keeps deadlines: a blocked check costs one thread and delays no other check."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from atom_platform.health import prober, runner
from atom_platform.health.check import CheckReport, CheckResult, Registration
from atom_platform.health.registry import HealthRegistry
from atom_platform.health.runner import CheckRunner
from tests.support.polling import wait_until
from tests.support.stalls import scaled
from tests.unit.health.parts import Changing, Hanging, health_threads


def report_on(registry: HealthRegistry, name: str) -> CheckReport:
    return next(check for check in registry.report().checks if check.name == name)


def test_a_late_check_is_unhealthy_at_its_deadline(
    registry: HealthRegistry, hanging: Hanging
) -> None:
    hanging.release()
    registry.register("database", hanging, timeout_seconds=0.5, measures_latency=True)
    assert registry.report().ready

    start = time.monotonic()
    hanging.hold()
    wait_until(lambda: not registry.report().ready, every=0.005)

    assert 0.3 < time.monotonic() - start < scaled(1.5)
    result = report_on(registry, "database").result
    assert result.message == "Database timeout after 0.5s"
    assert 500.0 <= (result.details["latency_ms"] or 0) < 1500


def test_the_message_has_one_decimal(registry: HealthRegistry, hanging: Hanging) -> None:
    registry.register("disk", hanging, timeout_seconds=0.25)

    registry.report()

    wait_until(lambda: report_on(registry, "disk").result.message == "Disk timeout after 0.2s")


def test_recovers_when_the_blocked_run_ends(registry: HealthRegistry, hanging: Hanging) -> None:
    registry.register("database", hanging, timeout_seconds=0.1)
    wait_until(lambda: "timeout" in report_on(registry, "database").result.message)

    hanging.release()

    wait_until(lambda: registry.report().ready, seconds=2)


def test_the_result_of_a_late_run_is_ignored(
    make_registry: Callable[..., HealthRegistry], hanging: Hanging
) -> None:
    """It took longer than its deadline, so the next run decides."""
    told: list[bool] = []
    registry = make_registry(on_result=lambda name, result, seconds: told.append(result.healthy))
    registry.register("database", hanging, timeout_seconds=0.1)
    registry.report()
    wait_until(lambda: told == [False])

    hanging.release()
    wait_until(lambda: registry.report().ready)

    assert hanging.entered >= 2
    assert told[0] is False
    assert all(told[1:])


def test_a_late_run_is_a_timeout_without_a_tick_at_the_deadline(hanging: Hanging) -> None:
    """The watchdog may get no CPU time; a run beyond its deadline is a timeout nevertheless."""
    check_runner = CheckRunner(
        Registration(name="database", check=hanging, timeout_seconds=0.05, measures_latency=True),
        period_seconds=60,
        on_change=lambda: None,
        on_result=None,
    )
    deadline = check_runner.tick(time.monotonic(), may_start=True)
    wait_until(lambda: time.monotonic() > deadline)

    hanging.release()
    wait_until(lambda: check_runner.status is not None)
    check_runner.stop()

    assert check_runner.status is not None
    assert check_runner.status.result.message == "Database timeout after 0.1s"
    assert (check_runner.status.result.details["latency_ms"] or 0) >= 50


def test_a_blocked_check_delays_no_other_check(registry: HealthRegistry, hanging: Hanging) -> None:
    other = Changing()
    registry.register("disk", hanging, timeout_seconds=0.1)
    registry.register("database", other, timeout_seconds=5)
    wait_until(lambda: "timeout" in report_on(registry, "disk").result.message)

    runs = other.runs
    wait_until(lambda: other.runs > runs + 5, seconds=5)
    assert report_on(registry, "database").result.healthy
    other.fail()
    wait_until(lambda: not report_on(registry, "database").result.healthy)


@pytest.mark.parametrize("askers", [8, 64])
def test_a_blocked_check_costs_one_thread_for_any_number_of_probes(
    registry: HealthRegistry, hanging: Hanging, askers: int
) -> None:
    """None of the probes waits for it."""
    hanging.release()
    registry.register("database", hanging, timeout_seconds=0.3)
    registry.report()
    hanging.hold()
    wait_until(lambda: not registry.report().ready)
    begin = threading.Barrier(askers)
    entered = hanging.entered

    def ask() -> float:
        begin.wait()
        longest = 0.0
        for _ in range(20):
            start = time.monotonic()
            assert not registry.report().ready
            longest = max(longest, time.monotonic() - start)
        return longest

    with ThreadPoolExecutor(askers) as pool:
        longest = max(pool.map(lambda _: ask(), range(askers)))

    assert longest < scaled(0.5)
    assert hanging.most_inside == 1
    assert hanging.entered == entered
    assert health_threads() == ["health-database", "health-prober"]


def test_64_first_probes_wait_no_longer_than_one(
    registry: HealthRegistry, hanging: Hanging
) -> None:
    """The first run blocks, and four threads answer 64 probes."""
    registry.register("database", hanging, timeout_seconds=30)
    start = time.monotonic()

    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: registry.report(), range(64)))

    assert time.monotonic() - start < scaled(1.2)
    assert {check.result.message for report in reports for check in report.checks} == {
        "Database check pending"
    }


class TestCancel:
    def test_a_timeout_after_a_healthy_run_stands_for_a_period(
        self, make_registry: Callable[..., HealthRegistry], hanging: Hanging
    ) -> None:
        """The dependency may be back at once, and a probe must have seen the outage."""
        registry = make_registry(period_seconds=0.6)
        hanging.release()
        registry.register("database", hanging, timeout_seconds=0.2, cancel=hanging.release)
        registry.report()
        wait_until(lambda: report_on(registry, "database").result.healthy)
        hanging.hold()

        wait_until(lambda: not report_on(registry, "database").result.healthy)
        lost_at = time.monotonic()
        wait_until(lambda: report_on(registry, "database").result.healthy)

        assert time.monotonic() - lost_at > 0.3

    def test_is_called_at_the_deadline_and_further_runs_start_at_once(
        self, make_registry: Callable[..., HealthRegistry], hanging: Hanging
    ) -> None:
        """A broken connection is replaced without waiting for a period."""
        registry = make_registry(period_seconds=0.5)
        registry.register("database", hanging, timeout_seconds=0.2, cancel=hanging.cancel)
        registry.report()

        wait_until(lambda: hanging.entered >= 4, seconds=2.5)

        assert hanging.cancels >= 3
        assert hanging.most_inside == 1
        assert report_on(registry, "database").result.message == "Database timeout after 0.2s"

    def test_is_not_called_for_a_run_in_time(
        self, registry: HealthRegistry, hanging: Hanging
    ) -> None:
        hanging.release()
        registry.register("database", hanging, timeout_seconds=5, cancel=hanging.cancel)
        registry.report()

        wait_until(lambda: hanging.entered > 5)

        assert hanging.cancels == 0

    def test_is_called_again_while_the_run_goes_on(
        self, registry: HealthRegistry, hanging: Hanging
    ) -> None:
        """The first call may come before there is a connection to close."""
        calls: list[float] = []
        registry.register(
            "database",
            hanging,
            timeout_seconds=0.1,
            cancel=lambda: calls.append(time.monotonic()),
        )
        registry.report()

        wait_until(lambda: len(calls) >= 3)

        assert calls[2] - calls[0] > 1.0
        assert hanging.entered == 1

    def test_may_raise(
        self, registry: HealthRegistry, hanging: Hanging, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken() -> None:
            raise RuntimeError("already closed")

        registry.register("database", hanging, timeout_seconds=0.1, cancel=broken)
        registry.report()
        wait_until(lambda: "health_check_cancel_failed" in caplog.messages)

        hanging.release()

        wait_until(lambda: registry.report().ready)

    def test_may_block_without_delaying_other_checks(
        self, registry: HealthRegistry, hanging: Hanging, closing: Hanging
    ) -> None:
        """Closing a connection can block too. It blocks one thread, not one thread a second."""
        registry.register("database", hanging, timeout_seconds=0.1, cancel=closing)
        registry.register("disk", Changing(), timeout_seconds=5)
        registry.report()
        wait_until(lambda: closing.entered == 1)
        disk = report_on(registry, "disk")

        wait_until(lambda: report_on(registry, "disk").confirmed_at > disk.confirmed_at + 2.2)

        assert closing.entered == 1
        assert health_threads().count("health-database-cancel") == 1
        hanging.release()
        wait_until(lambda: registry.report().ready)

    def test_the_next_run_waits_for_it_up_to_a_second(
        self, registry: HealthRegistry, hanging: Hanging, closing: Hanging
    ) -> None:
        """Otherwise it would close the connection of the next run."""
        registry.register("database", hanging, timeout_seconds=0.1, cancel=closing)
        registry.report()
        wait_until(lambda: closing.entered == 1)
        start = time.monotonic()

        hanging.release()
        wait_until(lambda: hanging.entered >= 2)

        assert 0.5 < time.monotonic() - start < scaled(3)

    def test_a_run_after_a_timeout_has_a_shorter_deadline(
        self, registry: HealthRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A connection made during the outage never answers; one made after it does."""
        monkeypatch.setattr(runner, "RETRY_SECONDS", 0.2)
        check = HalfOpen()
        registry.register("database", check, timeout_seconds=2, cancel=check.cancel)
        wait_until(lambda: "timeout" in report_on(registry, "database").result.message)
        attempts = check.attempts
        wait_until(lambda: check.attempts > attempts)

        check.silent = False
        start = time.monotonic()
        wait_until(lambda: registry.report().ready)

        assert time.monotonic() - start < scaled(1.2)

        check.takes_seconds = 0.5  # slower than the short deadline, faster than the whole one
        confirmed_at = report_on(registry, "database").confirmed_at
        wait_until(lambda: report_on(registry, "database").confirmed_at > confirmed_at + 1.5)
        status = report_on(registry, "database").status
        assert status is not None
        assert status.consecutive_failures == 0
        assert status.duration_seconds > 0.4


class HalfOpen:
    """A dependency whose connections, made while it is silent, stay silent until closed."""

    def __init__(self) -> None:
        self.silent = True
        self.takes_seconds = 0.0
        self.attempts = 0
        self._closed = threading.Event()

    def __call__(self) -> CheckResult:
        self._closed.clear()
        self.attempts += 1
        if self.silent:
            self._closed.wait(60)
            raise OSError("connection closed")
        self._closed.wait(self.takes_seconds)
        return CheckResult(healthy=True, message="Dependency answers")

    def cancel(self) -> None:
        self._closed.set()


class TestStale:
    def test_a_stale_result_is_unhealthy(
        self,
        registry: HealthRegistry,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """As when the watchdog has died: its last result says nothing any more."""
        registry.register("database", Changing(), timeout_seconds=0.1)
        assert registry.report().ready
        stop_watching(registry)
        monkeypatch.setattr(prober, "MAX_DELAY_SECONDS", 0.2)

        wait_until(lambda: not registry.report().ready, seconds=5)

        assert report_on(registry, "database").result.message == "Database check stale"
        for _ in range(5):
            registry.report()
        assert caplog.messages == ["health_check_stale"]

    def test_a_result_is_fresh_for_longer_than_a_run_and_a_period(
        self, registry: HealthRegistry
    ) -> None:
        """A run that takes its whole deadline must not make the result before it stale."""
        registry.register("database", Changing(), timeout_seconds=5)
        registry.report()
        assert registry._prober is not None
        (check_runner,) = registry._prober.runners.values()

        fresh_seconds = registry._prober.fresh_until(check_runner) - check_runner.confirmed_at

        assert fresh_seconds == pytest.approx(5 + 0.05 + 3)

    def test_a_timeout_is_never_stale(
        self, registry: HealthRegistry, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The run is still blocked, and readiness says so as long as it is."""
        monkeypatch.setattr(prober, "MAX_DELAY_SECONDS", 1.5)
        registry.register("database", hanging, timeout_seconds=0.1)
        wait_until(lambda: "timeout" in report_on(registry, "database").result.message)
        end = time.monotonic() + 2.5

        messages = set()
        while time.monotonic() < end:
            messages.add(report_on(registry, "database").result.message)
            time.sleep(0.02)

        assert messages == {"Database timeout after 0.1s"}

    def test_a_dead_watchdog_is_replaced(self, registry: HealthRegistry) -> None:
        check = Changing()
        registry.register("database", check, timeout_seconds=0.1)
        registry.report()
        assert registry._prober is not None
        watchdog = registry._prober._thread
        stop_watching(registry)
        assert watchdog is not None
        watchdog.join(5)
        registry._prober._stopped = False
        runs = check.runs

        registry.report()

        wait_until(lambda: check.runs > runs)


def stop_watching(registry: HealthRegistry) -> None:
    """End the watchdog without the registry, as nothing in the package does."""
    watched = registry._prober
    assert watched is not None
    with watched._condition:
        watched._stopped = True
        watched._condition.notify_all()
    assert watched._thread is not None
    watched._thread.join(scaled(5))


STOPPED = """
import sys, threading
from atom_platform.health import prober
from atom_platform.health.registry import HealthRegistry
from atom_platform.health.check import CheckResult

prober.MAX_DELAY_SECONDS, prober.RESUME_SECONDS = 0.3, 0.5

def check():
    threading.Event().wait(0.1)
    return CheckResult(healthy=True, message="Dependency answers")

registry = HealthRegistry(period_seconds=0.2)
registry.register("database", check, timeout_seconds=0.5)
for _ in sys.stdin:
    print(registry.report().checks[0].result.message, flush=True)
"""


def test_a_process_that_was_stopped_waits_for_new_results() -> None:
    """A laptop that slept or a frozen container is not unhealthy."""
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "Dependency answers\n"
            process.send_signal(signal.SIGSTOP)
            process.stdin.write("\n")  # read as soon as the process continues
            process.stdin.flush()
            stopped_at = time.monotonic()
            wait_until(lambda: time.monotonic() > stopped_at + 2)
            process.send_signal(signal.SIGCONT)

            assert process.stdout.readline() == "Dependency answers\n"
        finally:
            process.kill()


class TestThreads:
    def test_without_threads_it_is_unhealthy_until_there_are_some(
        self, registry: HealthRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`ulimit -u` is reached: readiness says so, and the service goes on."""
        registry.register("database", Changing(), timeout_seconds=0.5)
        with monkeypatch.context() as limit:
            limit.setattr(threading.Thread, "start", refuse)
            report = registry.report()
            assert not report.ready
            assert report.checks[0].result.message == "Database check pending"

        wait_until(lambda: registry.report().ready)

    def test_without_a_thread_for_one_check_only_that_one_fails(
        self, registry: HealthRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start = threading.Thread.start

        def refuse_one(thread: threading.Thread) -> None:
            if thread.name == "health-database":
                refuse(thread)
            start(thread)

        registry.register("database", Changing(), timeout_seconds=5)
        registry.register("disk", Changing(), timeout_seconds=5)
        with monkeypatch.context() as limit:
            limit.setattr(threading.Thread, "start", refuse_one)
            report = registry.report()
            assert [check.result.healthy for check in report.checks] == [False, True]
            assert report.checks[0].result.message == "Database check failed"

        wait_until(lambda: registry.report().ready)

    def test_stop_ends_them(self, registry: HealthRegistry) -> None:
        registry.register("database", Changing(), timeout_seconds=5)
        registry.report()
        assert health_threads() == ["health-database", "health-prober"]

        registry.stop()

        wait_until(lambda: health_threads() == [])

    def test_stop_cancels_a_blocked_run(self, registry: HealthRegistry, hanging: Hanging) -> None:
        registry.register("database", hanging, timeout_seconds=30, cancel=hanging.cancel)
        registry.report()

        registry.stop()

        wait_until(lambda: health_threads() == [])


def refuse(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
