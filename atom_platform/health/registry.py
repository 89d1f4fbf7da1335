"""
The checks of a service, and the face of the package.

Asking never runs a check: the prober does, in threads of its own, and a report is made of what it
last found out. Threads are started by the first question, hence after the fork, in each worker.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Collection
from typing import Final

from atom_platform.forking import at_fork
from atom_platform.health.news import OnResult
from atom_platform.health.prober import Prober
from atom_platform.health.registration import Registration
from atom_platform.health.report import ReadinessReport
from atom_platform.health.reporter import Reporter
from atom_platform.health.result import Check, CheckResult

__all__ = ["HealthRegistry"]

log = logging.getLogger("atom_platform.health")

START_RETRY_SECONDS: Final = 1.0

STARTED: Final = CheckResult(healthy=True, message="Started")


class HealthRegistry:
    """
    Holds the checks, and answers for them within the grace and without doing their work.

    Args:
        on_result: Called with name, result and seconds after each verdict on a run, from a thread
            of the prober. It may raise.
        period_seconds: From the start of a run to the start of the next.
        rest_after_seconds: How long checks go on when nobody asks.
        grace_seconds: Longest an answer waits for first results. Less than the half second that is
            promised for the whole answer.
    """

    def __init__(
        self,
        on_result: OnResult | None = None,
        *,
        period_seconds: float = 1.0,
        rest_after_seconds: float = 60.0,
        grace_seconds: float = 0.4,
    ) -> None:
        self._on_result = on_result
        self._period_seconds = period_seconds
        self._rest_after_seconds = rest_after_seconds
        self._grace_seconds = grace_seconds
        self._registrations: dict[str, Registration] = {}
        self._lock = threading.Lock()
        self._prober: Prober | None = None
        self._reporter: Reporter | None = None
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

    def register_gate(
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

        It is asked no more afterwards, and appears in answers only while it is what keeps the
        worker out: because it said so, or because nothing else does.

        Args:
            after: A check that must be healthy before the gate is asked. One hanging database then
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
                gate=True,
                after=after,
            )
        )

    def stop(self) -> None:
        """End the threads; a check that is stuck keeps its own until it returns."""
        with self._lock:
            prober, self._prober, self._reporter = self._prober, None, None
        if prober is not None:
            prober.stop()

    def wake(self) -> None:
        """Start the checks or keep them going: somebody is interested. Waits for nothing."""
        self._asked()

    start = wake

    def report(self, exclude: Collection[str] = (), *, wait: bool = True) -> ReadinessReport:
        """
        Say how the checks are doing.

        Args:
            exclude: Names of checks to leave out of the report and of its verdict.
            wait: Whether to wait, within the grace, for first results after the start or a rest.
        """
        prober = self._asked()
        return self._reporter_of(prober).report(exclude, wait=wait)

    def report_at_once(self) -> ReadinessReport | None:
        """
        Return what `report` would, or None when that might have to wait, start or log something.

        For threads that must not stop: nothing in here takes a lock.
        """
        prober = self._prober
        if prober is None or prober.resting or not prober.alive:
            return None
        prober.ask()
        return self._reporter_of(prober).report_at_once()

    def startup(self) -> CheckResult:
        """Say whether every gate was passed or need not be waited for; else why not."""
        if not any(registration.gate for registration in self._registrations.values()):
            return STARTED
        prober = self._prober
        if prober is None or not all(g.passed for g in prober.gates):
            # Passed gates stay passed: only shut ones are a reason to keep the checks going.
            prober = self._asked()
            prober.settle(prober.gates)
        now = time.monotonic()
        for guard in prober.gates:
            result = prober.report_on(guard, now).result
            if not result.healthy and result.blocks_startup:
                return result
        return STARTED

    def _add(self, registration: Registration) -> None:
        if registration.name in self._registrations:
            raise ValueError(f"check {registration.name!r} is registered already")
        self.stop()  # a prober that runs does not know the newcomer; the next question starts one
        self._registrations[registration.name] = registration

    def _asked(self) -> Prober:
        prober = self._prober
        if prober is None or not prober.alive:
            prober = self._started()
        prober.ask()
        return prober

    def _reporter_of(self, prober: Prober) -> Reporter:
        reporter = self._reporter
        if reporter is None or reporter.prober is not prober:
            reporter = self._reporter = Reporter(prober)
        return reporter

    def _started(self) -> Prober:
        with self._lock:
            prober = self._prober
            if prober is None:
                prober = self._prober = Prober(
                    tuple(self._registrations.values()),
                    on_result=self._on_result,
                    period_seconds=self._period_seconds,
                    rest_after_seconds=self._rest_after_seconds,
                    grace_seconds=self._grace_seconds,
                )
            now = time.monotonic()
            if now - self._start_failed_at >= START_RETRY_SECONDS and not prober.start():
                self._start_failed_at = now
                log.error("health_prober_not_started")
            return prober

    def _after_fork(self) -> None:
        """Threads do not cross a fork, and a lock may have been held by one: begin anew."""
        self._lock = threading.Lock()
        self._prober = self._reporter = None


_registries: weakref.WeakSet[HealthRegistry] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for registry in list(_registries):
        registry._after_fork()


# One hook for all registries: what is registered here can never be taken back.
at_fork("health_registry", after_in_child=_after_fork_in_child)
