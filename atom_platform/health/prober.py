"""
The prober: one watchdog thread per process that keeps the status of all checks fresh.

It runs while probes ask and is idle otherwise. It never runs a check itself and never waits for a
run, so a blocked check delays neither the other checks nor their deadlines.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from typing import Final

from atom_platform.health.check import CheckReport, Registration
from atom_platform.health.runner import CheckRunner, OnResult

__all__ = ["Prober"]

log = logging.getLogger("atom_platform.health")

MAX_DELAY_SECONDS: Final = 3.0
"""How far beyond deadline and period a status is still reported. The watchdog stays well below it;
an older status means that the watchdog has died or gets no CPU time."""

RESUME_SECONDS: Final = 10.0
"""The least time between two waits for statuses that became too old while probes were asking."""


class Prober:
    """
    Runs the checks of *registrations* side by side, each once a period.

    Args:
        period_seconds: From the start of a run to the start of the next.
        idle_after_seconds: How long the checks go on without a probe.
        initial_wait_seconds: How long an answer waits for the first runs after the start or an
            idle time. One span is shared by all probes; otherwise many probes would wait in turn.
    """

    def __init__(
        self,
        registrations: Sequence[Registration],
        *,
        on_result: OnResult | None,
        period_seconds: float,
        idle_after_seconds: float,
        initial_wait_seconds: float,
    ) -> None:
        self.runners = {
            registration.name: CheckRunner(
                registration,
                period_seconds=period_seconds,
                on_change=self._wake,
                on_result=on_result,
            )
            for registration in registrations
        }
        self.startup_runners = tuple(
            runner for runner in self.runners.values() if runner.registration.at_startup
        )
        self._period_seconds = period_seconds
        self._idle_after_seconds = idle_after_seconds
        self._initial_wait_seconds = initial_wait_seconds
        self._condition = threading.Condition()
        self._woken = False
        self._stopped = False
        self._idle = False
        self._asked_at = self._active_since = time.monotonic()
        self._stale: set[str] = set()
        self._thread: threading.Thread | None = None

    def start(self) -> bool:
        """Start the watchdog if it does not run; return False when there is no thread for it."""
        with self._condition:
            if self._stopped or (self._thread is not None and self._thread.is_alive()):
                return True
            thread = threading.Thread(target=self._watch, name="health-prober", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
            return True

    @property
    def alive(self) -> bool:
        """Whether the watchdog runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def idle(self) -> bool:
        """Whether no probe has asked for so long that the next one has to resume the checks."""
        return self._idle

    def stop(self, timeout_seconds: float = 1.0) -> None:
        """End the watchdog, and each check's thread once its run has ended."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        for runner in self.runners.values():
            runner.stop()

    def note_probe(self) -> None:
        """Record that a probe asks, which keeps or resumes the checks; waits for nothing."""
        self._asked_at = time.monotonic()
        if self._idle:
            with self._condition:
                if self._idle:
                    self._idle = False
                    self._active_since = self._asked_at
                    self._woken = True
                    self._condition.notify_all()

    def wait_for_results(self, runners: Sequence[CheckRunner]) -> None:
        """Wait until *runners* have results, at most until the initial wait is over."""
        self._wait(runners)
        now = time.monotonic()
        if any(now > self.fresh_until(each) and not self._is_blocked(each) for each in runners):
            # Probes were asking, and yet a status is too old: the process was stopped and resumed,
            # as by SIGSTOP. Waiting again is allowed rarely: a dead watchdog gives no results.
            with self._condition:
                if now - self._active_since > RESUME_SECONDS:
                    self._active_since = now
                    self._woken = True
                    self._condition.notify_all()
            self._wait(runners)

    def has_results(self, runners: Sequence[CheckRunner]) -> bool:
        """Whether all *runners* have a result since the last start or idle time, or cannot run."""
        return all(
            runner.passed or runner.confirmed_at >= self._active_since or self._is_blocked(runner)
            for runner in runners
        )

    def report_on(self, runner: CheckRunner, now: float) -> CheckReport:
        """Return what to show of *runner* at the moment *now*; logs a status that became stale."""
        fresh = now <= self.fresh_until(runner)
        report = runner.report(now, fresh=fresh)
        if fresh or report.status is None:
            self._stale.discard(report.name)
        elif report.name not in self._stale:
            self._stale.add(report.name)
            log.error("health_check_stale", extra={"check": report.name})
        return report

    def fresh_until(self, runner: CheckRunner) -> float:
        """Return until when the status of *runner* may be reported, on the monotonic clock."""
        if runner.passed:
            return math.inf
        seconds = runner.registration.timeout_seconds + self._period_seconds + MAX_DELAY_SECONDS
        return runner.confirmed_at + seconds

    def version(self) -> tuple[object, ...]:
        """Return a value that changes when a report would; only for comparing."""
        known: list[object] = [self._active_since]
        for runner in self.runners.values():
            known += (runner.status, runner.confirmed_at)
        return tuple(known)

    def _wait(self, runners: Sequence[CheckRunner]) -> None:
        """Wait until *runners* have results, at most for the rest of the shared initial wait."""
        seconds = self._active_since + self._initial_wait_seconds - time.monotonic()
        if seconds > 0 and not self.has_results(runners):
            with self._condition:
                self._condition.wait_for(lambda: self.has_results(runners), seconds)

    def _is_blocked(self, runner: CheckRunner) -> bool:
        """Whether *runner* waits for another check that is known to be unhealthy."""
        first = self.runners.get(runner.registration.after or "")
        return (
            first is not None
            and first.status is not None
            and first.confirmed_at >= self._active_since
            and not first.status.result.healthy
        )

    def _may_start(self, runner: CheckRunner) -> bool:
        """Whether the check that must be healthy before *runner*, if any, is healthy."""
        first = self.runners.get(runner.registration.after or "")
        return first is None or (first.status is not None and first.status.result.healthy)

    def _wake(self) -> None:
        """Wake the watchdog and all threads that wait for results."""
        with self._condition:
            self._woken = True
            self._condition.notify_all()

    def _watch(self) -> None:
        """Call `tick` of every runner whenever one is due or has changed; the watchdog's thread."""
        while not self._stopped:
            try:
                again = self._tick_all(time.monotonic())
            except Exception:  # our own defect must not end the thread that keeps the deadlines
                log.exception("health_prober_failed")
                again = time.monotonic() + self._period_seconds
            with self._condition:
                if not self._woken and not self._stopped:
                    seconds = None if again == math.inf else max(0.0, again - time.monotonic())
                    self._condition.wait(seconds)
                self._woken = False

    def _tick_all(self, now: float) -> float:
        """Tick every runner, and become idle without probes; return when to call again."""
        if now - self._asked_at > self._idle_after_seconds and not self._idle:
            self._idle = True
            if now - self._asked_at <= self._idle_after_seconds:  # asked between the two lines
                self._idle = False
        return min(
            (
                runner.tick(now, may_start=not self._idle and self._may_start(runner))
                for runner in self.runners.values()
            ),
            default=math.inf,
        )
