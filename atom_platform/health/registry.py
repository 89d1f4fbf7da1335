"""
The checks of a service and the reports on them.

Asking never runs a check: the prober does, in threads of its own, and a report is made of the last
results. The first probe starts the threads; so each worker starts its own, after the fork.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from atom_platform.forking import at_fork
from atom_platform.health.check import Check, CheckReport, CheckResult, Registration
from atom_platform.health.prober import Prober
from atom_platform.health.runner import CheckRunner, OnResult

__all__ = ["HealthRegistry", "ReadinessReport"]

log = logging.getLogger("atom_platform.health")

START_RETRY_SECONDS: Final = 1.0

STARTED: Final = CheckResult(healthy=True, message="Started")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadinessReport:
    """
    Whether the worker is ready, and the report on each check.

    Attributes:
        ready: Whether every critical check is healthy and every startup check has passed.
        checks: In the order of registration; startup checks last, and only where they explain why
            the worker is not ready.
        excluded: Names that were left out because the caller asked for it.
        unknown: Names that the caller wanted left out, and that no check has.
    """

    ready: bool
    checks: tuple[CheckReport, ...]
    excluded: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @classmethod
    def on(
        cls,
        checks: list[CheckReport],
        startup_checks: list[CheckReport],
        *,
        excluded: tuple[str, ...],
        unknown: tuple[str, ...],
    ) -> ReadinessReport:
        """
        Decide whether the worker is ready.

        A startup check that has not passed is shown when it was unhealthy itself, or when nothing
        else explains why the worker is not ready.
        """
        healthy = all(each.result.healthy or not each.critical for each in checks)
        waiting = [each for each in startup_checks if not each.result.healthy]
        shown = [each for each in waiting if healthy or (each.status and each.status.answered)]
        return cls(
            ready=healthy and not waiting,
            checks=(*checks, *shown),
            excluded=excluded,
            unknown=unknown,
        )


@dataclass(frozen=True, slots=True)
class _CachedReport:
    """A report, the version of the prober it was made of, and until when it may be given."""

    version: tuple[object, ...]
    until: float
    report: ReadinessReport


class _Reporter:
    """
    Makes reports of a prober's results.

    Probes ask far more often than results change, so the last report is kept until the prober's
    version changes or a result becomes too old.
    """

    def __init__(self, prober: Prober) -> None:
        self.prober = prober
        self._cached: _CachedReport | None = None

    def report(self, exclude: Collection[str], *, wait: bool) -> ReadinessReport:
        """Return the report; see `HealthRegistry.report`."""
        prober = self.prober
        version = prober.version()
        if not exclude and (cached := self._cached_report(version)) is not None:
            return cached
        names = dict.fromkeys(exclude)
        runners = [each for each in self._open_runners() if each.registration.name not in names]
        if wait:
            prober.wait_for_results(runners)
            version = prober.version()
        now = time.monotonic()
        report = self._report_on(runners, now, names)
        if not names and prober.has_results(runners):
            self._cache(version, runners, now, report)
        return report

    def report_nowait(self) -> ReadinessReport | None:
        """Return the report, or None when making it would mean to wait or to log."""
        prober = self.prober
        version = prober.version()
        cached = self._cached_report(version)
        if cached is not None:
            return cached
        now, runners = time.monotonic(), self._open_runners()
        if not prober.has_results(runners) or any(
            prober.fresh_until(each) <= now for each in runners
        ):
            return None
        report = self._report_on(runners, now, {})
        self._cache(version, runners, now, report)
        return report

    def _open_runners(self) -> list[CheckRunner]:
        """Return the runners whose results still count: all but passed startup checks."""
        return [runner for runner in self.prober.runners.values() if not runner.passed]

    def _report_on(
        self, runners: list[CheckRunner], now: float, excluded: Collection[str]
    ) -> ReadinessReport:
        prober = self.prober
        checks: list[CheckReport] = []
        startup_checks: list[CheckReport] = []
        for runner in runners:
            reports = startup_checks if runner.registration.at_startup else checks
            reports.append(prober.report_on(runner, now))
        return ReadinessReport.on(
            checks,
            startup_checks,
            excluded=tuple(name for name in excluded if name in prober.runners),
            unknown=tuple(name for name in excluded if name not in prober.runners),
        )

    def _cached_report(self, version: tuple[object, ...]) -> ReadinessReport | None:
        cached = self._cached
        if cached is not None and cached.version == version and time.monotonic() < cached.until:
            return cached.report
        return None

    def _cache(
        self,
        version: tuple[object, ...],
        runners: list[CheckRunner],
        now: float,
        report: ReadinessReport,
    ) -> None:
        until = min(map(self.prober.fresh_until, runners), default=now)
        if now < until:
            self._cached = _CachedReport(version, until, report)


class HealthRegistry:
    """
    Holds the checks, and reports on them within the initial wait and without running them.

    Args:
        on_result: Called with name, result and seconds after each run or timeout, from a thread
            of the prober. It may raise.
        period_seconds: From the start of a run to the start of the next.
        idle_after_seconds: How long the checks go on without a probe.
        initial_wait_seconds: Longest an answer waits for first results. Less than the half second
            that is promised for the whole answer.
    """

    def __init__(
        self,
        on_result: OnResult | None = None,
        *,
        period_seconds: float = 1.0,
        idle_after_seconds: float = 60.0,
        initial_wait_seconds: float = 0.4,
    ) -> None:
        self._on_result = on_result
        self._period_seconds = period_seconds
        self._idle_after_seconds = idle_after_seconds
        self._initial_wait_seconds = initial_wait_seconds
        self._registrations: dict[str, Registration] = {}
        self._lock = threading.Lock()
        self._prober: Prober | None = None
        self._reporter: _Reporter | None = None
        self._start_failed_at = -START_RETRY_SECONDS
        _registries.add(self)

    def register(
        self,
        name: str,
        check: Check,
        *,
        timeout_seconds: float,
        critical: bool = True,
        cancel: Callable[[], object] | None = None,
        measures: Collection[str] = (),
        measures_latency: bool = False,
    ) -> None:
        """
        Add *check* under *name*, its key in the answer; see `Registration` for the rest.

        Raises:
            ValueError: The name is taken, or `Registration` says why not.
        """
        self._add(
            Registration(
                name=name,
                check=check,
                timeout_seconds=timeout_seconds,
                critical=critical,
                cancel=cancel,
                measures=tuple(measures),
                measures_latency=measures_latency,
            )
        )

    def register_startup_check(
        self,
        name: str,
        check: Check,
        *,
        timeout_seconds: float,
        cancel: Callable[[], object] | None = None,
        after: str | None = None,
    ) -> None:
        """
        Add a check that has to be healthy once: the worker is neither started nor ready before.

        It is not run again afterwards. Answers show it only while it explains why the worker is not
        ready.

        Args:
            after: A check that must be healthy before this one runs. One hanging database then
                costs one thread, not two.

        Raises:
            ValueError: As for `register`; also when no check is called *after*.
        """
        if after is not None and after not in self._registrations:
            raise ValueError(f"no check is called {after!r}")
        self._add(
            Registration(
                name=name,
                check=check,
                timeout_seconds=timeout_seconds,
                cancel=cancel,
                at_startup=True,
                after=after,
            )
        )

    def stop(self) -> None:
        """End the threads; a blocked check keeps its own until it returns."""
        with self._lock:
            prober, self._prober, self._reporter = self._prober, None, None
        if prober is not None:
            prober.stop()

    def start(self) -> None:
        """Start the checks or keep them going, as a probe does; waits for nothing."""
        self._active_prober()

    def report(self, exclude: Collection[str] = (), *, wait: bool = True) -> ReadinessReport:
        """
        Return the report on all checks.

        Args:
            exclude: Names of checks to leave out; they do not decide whether the worker is ready.
            wait: Whether to wait, at most the initial wait, for first results after the start or
                an idle time.
        """
        prober = self._active_prober()
        return self._reporter_of(prober).report(exclude, wait=wait)

    def report_nowait(self) -> ReadinessReport | None:
        """
        Return what `report` would, or None when that might have to wait, start or log something.

        For threads that must not block: nothing in here takes a lock.
        """
        prober = self._prober
        if prober is None or prober.idle or not prober.alive:
            return None
        prober.note_probe()
        return self._reporter_of(prober).report_nowait()

    def startup(self) -> CheckResult:
        """Return whether every startup check has passed or does not block; otherwise why not."""
        if not any(each.at_startup for each in self._registrations.values()):
            return STARTED
        prober = self._prober
        if prober is None or not all(each.passed for each in prober.startup_runners):
            # A passed check stays passed: only the others are a reason to keep the checks going.
            prober = self._active_prober()
            prober.wait_for_results(prober.startup_runners)
        now = time.monotonic()
        for runner in prober.startup_runners:
            result = prober.report_on(runner, now).result
            if not result.healthy and result.blocks_startup:
                return result
        return STARTED

    def _add(self, registration: Registration) -> None:
        if registration.name in self._registrations:
            raise ValueError(f"check {registration.name!r} is registered already")
        self.stop()  # the running prober does not know the new check; the next probe starts one
        self._registrations[registration.name] = registration

    def _active_prober(self) -> Prober:
        """Return the running prober, started if need be, and record a probe."""
        prober = self._prober
        if prober is None or not prober.alive:
            prober = self._start_prober()
        prober.note_probe()
        return prober

    def _reporter_of(self, prober: Prober) -> _Reporter:
        reporter = self._reporter
        if reporter is None or reporter.prober is not prober:
            reporter = self._reporter = _Reporter(prober)
        return reporter

    def _start_prober(self) -> Prober:
        """Return the prober, whose start is retried once a second while threads are lacking."""
        with self._lock:
            prober = self._prober
            if prober is None:
                prober = self._prober = Prober(
                    tuple(self._registrations.values()),
                    on_result=self._on_result,
                    period_seconds=self._period_seconds,
                    idle_after_seconds=self._idle_after_seconds,
                    initial_wait_seconds=self._initial_wait_seconds,
                )
            now = time.monotonic()
            if now - self._start_failed_at >= START_RETRY_SECONDS and not prober.start():
                self._start_failed_at = now
                log.error("health_prober_not_started")
            return prober

    def _after_fork(self) -> None:
        """Begin anew in a child: it has no threads, and one may have held the lock."""
        self._lock = threading.Lock()
        self._prober = self._reporter = None


_registries: weakref.WeakSet[HealthRegistry] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for registry in list(_registries):
        registry._after_fork()


# One hook for all registries: a registered hook cannot be removed.
at_fork("health_registry", after_in_child=_after_fork_in_child)
