"""HealthRegistry reports the last results of the prober."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from atom_platform.health import prober
from atom_platform.health.check import CheckFailed, CheckReport, CheckResult
from atom_platform.health.registry import HealthRegistry, ReadinessReport
from tests.support.polling import wait_until
from tests.support.stalls import scaled
from tests.unit.health.parts import Changing, Hanging, health_threads


def only(report: ReadinessReport) -> CheckReport:
    (check,) = report.checks
    return check


def test_no_check_runs_before_the_first_probe(registry: HealthRegistry) -> None:
    """Threads started before the fork would not exist after it."""
    check = Changing()
    registry.register("database", check, timeout_seconds=5)

    assert health_threads() == []
    assert check.runs == 0


def test_without_checks_a_worker_is_ready(registry: HealthRegistry) -> None:
    assert registry.report() == ReadinessReport(ready=True, checks=())


def test_first_answer_waits_for_the_first_run(registry: HealthRegistry) -> None:
    registry.register("database", Changing(), timeout_seconds=5)

    report = registry.report()

    assert report.ready
    assert only(report).result.message == "Dependency answers"


def test_first_answer_waits_no_longer_than_the_initial_wait(
    registry: HealthRegistry, hanging: Hanging
) -> None:
    registry.register("database", hanging, timeout_seconds=30, measures_latency=True)
    start = time.monotonic()

    report = registry.report()

    # The promise is 0.5, the check's own deadline 30.
    assert 0.3 < time.monotonic() - start < scaled(1.5)
    assert not report.ready
    assert only(report).result.message == "Database check pending"
    assert 300 < (only(report).result.details["latency_ms"] or 0) < 5000


def test_the_initial_wait_is_shared_by_all_probes(
    registry: HealthRegistry, hanging: Hanging
) -> None:
    """Four request threads answer 64 probes of a hung database within one initial wait, not 16."""
    registry.register("database", hanging, timeout_seconds=30)
    start = time.monotonic()

    reports = [registry.report() for _ in range(64)]

    assert time.monotonic() - start < scaled(4)  # one initial wait is 0.4, sixteen would be 6.4
    assert not any(report.ready for report in reports)


def test_a_probe_never_runs_a_check(make_registry: Callable[..., HealthRegistry]) -> None:
    registry = make_registry(period_seconds=60)
    check = Changing()
    registry.register("database", check, timeout_seconds=5)

    for _ in range(100):
        registry.report()

    assert check.runs == 1


def test_fault_and_recovery_are_seen_at_the_next_run(registry: HealthRegistry) -> None:
    check = Changing()
    registry.register("database", check, timeout_seconds=5)
    assert registry.report().ready

    check.fail()
    wait_until(lambda: not registry.report().ready)
    assert only(registry.report()).result.message == "Dependency broken"

    check.recover()
    wait_until(lambda: registry.report().ready)


def test_raised_text_is_not_shown(registry: HealthRegistry) -> None:
    check = Changing(OSError("/secret/path: gone"))
    registry.register("disk", check, timeout_seconds=5, measures=["free_gb"])

    result = only(registry.report()).result

    assert result.as_dict() == {"healthy": False, "message": "Disk check failed", "free_gb": None}


def test_the_text_of_check_failed_is_shown(registry: HealthRegistry) -> None:
    check = Changing(CheckFailed("Database refused the connection"))
    registry.register("database", check, timeout_seconds=5, measures_latency=True)

    result = only(registry.report()).result

    assert list(result.as_dict()) == ["healthy", "message", "latency_ms"]
    assert result.message == "Database refused the connection"


@pytest.mark.parametrize(
    "error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), MemoryError()]
)
def test_no_exception_ends_the_thread(registry: HealthRegistry, error: BaseException) -> None:
    check = Changing(error)
    registry.register("database", check, timeout_seconds=5)
    assert only(registry.report()).result.message == "Database check failed"

    check.recover()

    wait_until(lambda: registry.report().ready)


def test_a_return_value_that_is_no_result_is_a_failure(registry: HealthRegistry) -> None:
    registry.register("database", lambda: True, timeout_seconds=5)  # type: ignore[arg-type,return-value]  # the point

    assert only(registry.report()).result.message == "Database check failed"


def test_latency_is_measured(registry: HealthRegistry) -> None:
    release = threading.Event()

    def slow() -> CheckResult:
        release.wait(0.05)
        return CheckResult(healthy=True, message="Database accessible")

    registry.register("database", slow, timeout_seconds=5, measures_latency=True)

    result = only(registry.report()).result

    latency_ms = result.details["latency_ms"] or 0
    assert 50 <= latency_ms < 400
    assert latency_ms == round(latency_ms, 2)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_become_null(registry: HealthRegistry, value: float) -> None:
    result = CheckResult(healthy=True, message="Odd", details={"free_gb": value})
    registry.register("disk", Changing(result), timeout_seconds=5)

    assert only(registry.report()).result.details == {"free_gb": None}


class TestCritical:
    def test_one_unhealthy_check_is_enough(self, registry: HealthRegistry) -> None:
        registry.register("database", Changing(), timeout_seconds=5)
        registry.register("disk", Changing(CheckFailed("Disk full")), timeout_seconds=5)

        report = registry.report()

        assert not report.ready
        assert [check.result.healthy for check in report.checks] == [True, False]

    def test_a_check_that_is_not_critical_leaves_the_worker_ready(
        self, registry: HealthRegistry
    ) -> None:
        registry.register("mail", Changing(CheckFailed("x")), timeout_seconds=5, critical=False)

        report = registry.report()

        assert report.ready
        assert not only(report).result.healthy


class TestExclude:
    def test_an_excluded_check_does_not_decide(self, registry: HealthRegistry) -> None:
        registry.register("database", Changing(), timeout_seconds=5)
        registry.register("disk", Changing(CheckFailed("Disk full")), timeout_seconds=5)

        report = registry.report(["disk"])

        assert report.ready
        assert only(report).name == "database"
        assert report.excluded == ("disk",)

    def test_does_not_wait_for_it(
        self, make_registry: Callable[..., HealthRegistry], hanging: Hanging
    ) -> None:
        registry = make_registry(initial_wait_seconds=20)
        registry.register("database", hanging, timeout_seconds=30)
        registry.register("disk", Changing(), timeout_seconds=5)
        start = time.monotonic()

        assert registry.report(["database"]).ready

        assert time.monotonic() - start < scaled(5)

    def test_unknown_names_are_reported(self, registry: HealthRegistry) -> None:
        registry.register("disk", Changing(), timeout_seconds=5)

        report = registry.report(["dsik", "dsik", "<script>"])

        assert report.ready
        assert report.unknown == ("dsik", "<script>")

    def test_the_cached_report_holds_every_check(
        self, make_registry: Callable[..., HealthRegistry]
    ) -> None:
        """The report cached for the next probe is the whole one."""
        registry = make_registry(period_seconds=60)
        registry.register("database", Changing(), timeout_seconds=5)
        registry.register("disk", Changing(CheckFailed("Disk full")), timeout_seconds=5)

        ready = [registry.report(exclude).ready for exclude in ([], ["disk"], [], ["disk"])]

        assert ready == [False, True, False, True]


class TestHistory:
    def test_counts_failures_and_keeps_the_last_success(self, registry: HealthRegistry) -> None:
        check = Changing()
        registry.register("database", check, timeout_seconds=5)
        healthy = only(registry.report()).status
        assert healthy is not None
        assert healthy.consecutive_failures == 0
        assert healthy.last_success == pytest.approx(time.time(), abs=5)
        last_success = healthy.last_success or 0

        check.fail()
        wait_until(lambda: failures(registry) >= 3)

        broken = only(registry.report()).status
        assert broken is not None
        assert last_success <= (broken.last_success or 0) <= broken.since
        assert only(registry.report()).confirmed_at <= time.monotonic()

        check.recover()
        wait_until(lambda: failures(registry) == 0)

    def test_since_is_the_time_of_the_last_change(self, registry: HealthRegistry) -> None:
        check = Changing()
        registry.register("database", check, timeout_seconds=5)
        registry.report()
        first_run = check.runs
        wait_until(lambda: check.runs > first_run + 3)

        status = only(registry.report()).status

        assert status is not None
        assert status.last_success is not None
        assert status.since < status.last_success


def failures(registry: HealthRegistry) -> int:
    status = only(registry.report()).status
    assert status is not None
    return status.consecutive_failures


class TestStartupCheck:
    def test_a_failing_one_keeps_the_worker_out(self, registry: HealthRegistry) -> None:
        startup_check = Changing(CheckResult(healthy=False, message="Database schema waits"))
        registry.register("database", Changing(), timeout_seconds=5)
        registry.register_startup_check(
            "schema", startup_check, timeout_seconds=5, after="database"
        )

        report = registry.report()

        assert not report.ready
        assert [check.name for check in report.checks] == ["database", "schema"]
        assert registry.startup() == CheckResult(healthy=False, message="Database schema waits")

    def test_a_passed_one_disappears_and_runs_no_more(self, registry: HealthRegistry) -> None:
        startup_check, check = Changing(), Changing()
        registry.register("database", check, timeout_seconds=5)
        registry.register_startup_check(
            "schema", startup_check, timeout_seconds=5, after="database"
        )
        wait_until(lambda: registry.report().ready)

        startup_check.fail()
        runs = check.runs
        wait_until(lambda: check.runs > runs + 3 and registry.report().ready)

        assert startup_check.runs == 1
        assert [check.name for check in registry.report().checks] == ["database"]
        assert registry.startup().healthy

    def test_the_worker_is_ready_when_it_becomes_healthy(self, registry: HealthRegistry) -> None:
        startup_check = Changing(CheckResult(healthy=False, message="Waits"))
        registry.register_startup_check("schema", startup_check, timeout_seconds=5)
        assert not registry.startup().healthy

        startup_check.recover()

        wait_until(lambda: registry.startup().healthy)
        assert registry.report() == ReadinessReport(ready=True, checks=())

    def test_a_fault_that_a_restart_cannot_change_does_not_block_the_start(
        self, registry: HealthRegistry
    ) -> None:
        ahead = CheckResult(healthy=False, message="Newer", blocks_startup=False)
        registry.register_startup_check("schema", Changing(ahead), timeout_seconds=5)

        assert registry.startup().healthy
        report = registry.report()
        assert not report.ready
        assert only(report).result.message == "Newer"

    def test_does_not_run_while_the_check_before_it_is_unhealthy(
        self, registry: HealthRegistry
    ) -> None:
        """A dead database costs one connection, and explains itself."""
        startup_check, check = Changing(), Changing(CheckFailed("Database refused the connection"))
        registry.register("database", check, timeout_seconds=5)
        registry.register_startup_check(
            "schema", startup_check, timeout_seconds=5, after="database"
        )
        registry.report()
        wait_until(lambda: check.runs > 5)

        report = registry.report()

        assert startup_check.runs == 0
        assert [check.name for check in report.checks] == ["database"]
        assert registry.startup().message == "Schema check pending"

        check.recover()
        wait_until(lambda: registry.report().ready)

    def test_an_unhealthy_one_is_shown_beside_other_failures(
        self, registry: HealthRegistry
    ) -> None:
        """An operator who repairs the disk must see the schema too."""
        behind = CheckResult(healthy=False, message="Database schema waits")
        registry.register("disk", Changing(CheckFailed("Disk full")), timeout_seconds=5)
        registry.register_startup_check("schema", Changing(behind), timeout_seconds=5)

        report = registry.report()

        assert [check.name for check in report.checks] == ["disk", "schema"]

    def test_the_check_before_it_must_be_registered(self, registry: HealthRegistry) -> None:
        with pytest.raises(ValueError, match="databsae"):
            registry.register_startup_check(
                "schema", Changing(), timeout_seconds=5, after="databsae"
            )

    def test_startup_probes_do_not_keep_the_checks_running_after_it_passed(
        self, make_registry: Callable[..., HealthRegistry]
    ) -> None:
        """Startup probes that never end must not query the database of an idle worker."""
        registry = make_registry(idle_after_seconds=0.2)
        check = Changing()
        registry.register("database", check, timeout_seconds=5)
        registry.register_startup_check("schema", Changing(), timeout_seconds=5)
        wait_until(lambda: registry.startup().healthy)

        wait_until(lambda: rests(registry, check, asking=registry.startup))


def rests(
    registry: HealthRegistry, check: Changing, *, asking: Callable[[], object] = lambda: None
) -> bool:
    """Return whether the check has not run for six periods."""
    runs = check.runs
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        asking()
        time.sleep(0.01)
    return check.runs == runs


class TestIdle:
    def test_checks_stop_without_probes_and_resume_with_the_next(
        self, make_registry: Callable[..., HealthRegistry]
    ) -> None:
        registry = make_registry(idle_after_seconds=0.2)
        check = Changing()
        registry.register("database", check, timeout_seconds=5)
        assert registry.report().ready
        wait_until(lambda: rests(registry, check))

        check.fail()

        assert not registry.report().ready  # the first answer after the idle time is a new one

    def test_results_from_before_the_idle_time_are_not_reported(
        self,
        make_registry: Callable[..., HealthRegistry],
        hanging: Hanging,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The database began to hang in the idle time: no run has ended, so it is unhealthy."""
        monkeypatch.setattr(
            prober, "MAX_DELAY_SECONDS", -29.0
        )  # of 30 for the run and 0.05 between
        registry = make_registry(idle_after_seconds=0.2)
        hanging.release()
        registry.register("database", hanging, timeout_seconds=30, measures_latency=True)
        assert registry.report().ready
        wait_until(lambda: not entered_within(hanging, 0.5))
        hanging.hold()
        known_at = time.monotonic()
        wait_until(lambda: time.monotonic() > known_at + 1.2)

        result = only(registry.report()).result

        assert result.message == "Database check pending"
        assert 300 < (result.details["latency_ms"] or 0) < 5000

    def test_a_scrape_resumes_the_checks_and_waits_for_nothing(
        self, make_registry: Callable[..., HealthRegistry], hanging: Hanging
    ) -> None:
        registry = make_registry(idle_after_seconds=0.2, initial_wait_seconds=20)
        hanging.release()
        registry.register("database", hanging, timeout_seconds=30)
        registry.report()
        wait_until(lambda: not entered_within(hanging, 0.3))
        hanging.hold()
        entered = hanging.entered
        start = time.monotonic()

        registry.start()

        assert time.monotonic() - start < scaled(1)
        wait_until(lambda: hanging.entered > entered)

    def test_checks_go_on_while_probes_ask(
        self, make_registry: Callable[..., HealthRegistry]
    ) -> None:
        registry = make_registry(idle_after_seconds=1.0)
        check = Changing()
        registry.register("database", check, timeout_seconds=5)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            registry.report()
            time.sleep(0.1)
        runs = check.runs

        wait_until(lambda: check.runs > runs, seconds=0.9)


def entered_within(check: Hanging, seconds: float) -> bool:
    entered = check.entered
    time.sleep(seconds)
    return check.entered > entered


class TestRegistration:
    @pytest.mark.parametrize("name", ["", "Disk", "disk space", "1disk", 'di"sk', "dïsk"])
    def test_a_name_is_a_lower_case_word(self, registry: HealthRegistry, name: str) -> None:
        with pytest.raises(ValueError, match="no lower-case word"):
            registry.register(name, Changing(), timeout_seconds=5)

    def test_a_name_is_registered_once(self, registry: HealthRegistry) -> None:
        registry.register("disk", Changing(), timeout_seconds=5)

        with pytest.raises(ValueError, match="registered already"):
            registry.register("disk", Changing(), timeout_seconds=5)

    @pytest.mark.parametrize("seconds", [0, -1, math.nan])
    def test_a_timeout_is_positive(self, registry: HealthRegistry, seconds: float) -> None:
        with pytest.raises(ValueError, match="timeout_seconds"):
            registry.register("disk", Changing(), timeout_seconds=seconds)

    def test_a_check_registered_later_runs_too(self, registry: HealthRegistry) -> None:
        registry.register("database", Changing(), timeout_seconds=5)
        assert registry.report().ready

        registry.register("disk", Changing(CheckFailed("Disk full")), timeout_seconds=5)

        assert not registry.report().ready


class TestOnResult:
    def test_is_called_after_every_run(self, make_registry: Callable[..., HealthRegistry]) -> None:
        told: list[tuple[str, bool, float]] = []
        registry = make_registry(
            on_result=lambda name, result, seconds: told.append((name, result.healthy, seconds))
        )
        check = Changing()
        registry.register("database", check, timeout_seconds=5)
        registry.report()
        wait_until(lambda: len(told) >= 3)
        check.fail()
        wait_until(lambda: told[-1][1] is False)

        assert {name for name, _, _ in told} == {"database"}
        assert all(0 <= seconds < 5 for _, _, seconds in told)

    def test_may_raise(
        self, make_registry: Callable[..., HealthRegistry], caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("no metrics today")

        registry = make_registry(on_result=broken)
        check = Changing()
        registry.register("database", check, timeout_seconds=5)
        registry.report()
        wait_until(lambda: check.runs > 5)

        assert registry.report().ready
        assert [r.message for r in caplog.records] == ["health_check_callback_failed"]


class TestLog:
    def test_one_line_per_change_not_per_run(
        self, registry: HealthRegistry, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        check = Changing()
        registry.register("database", check, timeout_seconds=5)
        registry.report()
        check.fail(OSError("host=db.internal: no route"))
        wait_until(lambda: failures(registry) >= 5)
        check.recover()
        wait_until(lambda: len(caplog.records) >= 2)

        unhealthy, recovered = caplog.records
        assert (unhealthy.levelname, unhealthy.message) == ("WARNING", "health_check_unhealthy")
        assert unhealthy.__dict__["check"] == "database"
        assert unhealthy.__dict__["reason"] == "Database check failed"
        assert unhealthy.exc_info is not None
        assert "no route" in str(unhealthy.exc_info[1])
        assert (recovered.levelname, recovered.message) == ("INFO", "health_check_recovered")
        assert recovered.__dict__["failures"] >= 5
        assert 0.2 <= recovered.__dict__["outage_seconds"] < 20

    def test_a_check_that_starts_unhealthy_is_logged(
        self, registry: HealthRegistry, caplog: pytest.LogCaptureFixture
    ) -> None:
        registry.register("disk", Changing(CheckFailed("Disk full")), timeout_seconds=5)

        registry.report()

        wait_until(lambda: [r.message for r in caplog.records] == ["health_check_unhealthy"])


FORKING = """
import os, sys, threading
from atom_platform.health.registry import HealthRegistry
from atom_platform.health.check import CheckResult

def check():
    return CheckResult(healthy=True, message=f"pid {os.getpid()}")

registry = HealthRegistry()
registry.register("process", check, timeout_seconds=5)
assert registry.report().checks[0].result.message == f"pid {os.getpid()}"
registry._lock.acquire()  # as if another thread held it at the fork
pid = os.fork()
if pid == 0:
    report = registry.report()
    right = report.ready and report.checks[0].result.message == f"pid {os.getpid()}"
    names = sorted(thread.name for thread in threading.enumerate())
    os._exit(0 if right and names == ["MainThread", "health-prober", "health-process"] else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_forked_process_has_a_prober_of_its_own() -> None:
    """Even when the parent has started its prober, and a lock was held at the fork."""
    done = subprocess.run(
        [sys.executable, "-c", FORKING],
        capture_output=True,
        text=True,
        timeout=scaled(30),
        env=os.environ,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_report_nowait_does_not_wait(registry: HealthRegistry, hanging: Hanging) -> None:
    """None before the first results; afterwards the same report as `report`."""
    registry.register("database", hanging, timeout_seconds=5)
    before = registry.report_nowait()
    registry.start()
    pending = registry.report_nowait()
    hanging.release()
    known = wait_until(registry.report_nowait)

    assert before is None
    assert pending is None
    assert known is not None
    assert known.ready
    assert [check.name for check in known.checks] == ["database"]


def test_report_nowait_does_not_resume_idle_checks(
    make_registry: Callable[..., HealthRegistry],
) -> None:
    """Resuming takes a lock, and the last results are old."""
    registry = make_registry(idle_after_seconds=0.1)
    registry.register("database", lambda: CheckResult(healthy=True, message="m"), timeout_seconds=1)
    registry.report()
    wait_until(lambda: registry.report_nowait() is None, every=0.3)

    assert registry.report().ready


def test_report_nowait_follows_the_checks(registry: HealthRegistry) -> None:
    check = Changing()
    registry.register("database", check, timeout_seconds=1)
    registry.report()
    check.result = CheckResult(healthy=False, message="gone")

    def refused() -> ReadinessReport | None:
        report = registry.report_nowait()
        return report if report is not None and not report.ready else None

    report = wait_until(refused)

    assert report is not None
    assert only(report).result.message == "gone"
