"""
The checks of a service, and what they say together.

Asking never runs a check: the prober does, in threads of its own, and a report is made of what it
last found out. Threads are started by the first question, hence after the fork, in each worker.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from atom_platform.health.guard import GuardedCheck, OnResult, Registration
from atom_platform.health.outcome import Outcome
from atom_platform.health.prober import Prober
from atom_platform.health.result import Check, CheckResult

__all__ = ["CheckReport", "HealthRegistry", "ReadinessReport"]

log = logging.getLogger("atom_platform.health")

START_RETRY_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """
    One check in a report.

    Attributes:
        result: What to show; not always the outcome's: that may be missing or too old.
        outcome: The last run that counts, with its history; None before the first.
        age_seconds: How old the knowledge is; None when there is none.
    """

    name: str
    critical: bool
    result: CheckResult
    outcome: Outcome | None
    age_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadinessReport:
    """
    Whether the worker can do its work, and each check's part in that.

    Attributes:
        ready: Whether every critical check is healthy.
        checks: In the order of registration, gates last and only while they are shut.
        excluded: Names that were left out because the caller asked for it.
        unknown: Names that the caller wanted left out, and that no check has.
    """

    ready: bool
    checks: tuple[CheckReport, ...]
    excluded: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


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
        self._start_failed_at = -START_RETRY_SECONDS
        self._stale: set[str] = set()
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
            ValueError: The name is taken or no lower-case word, or the timeout is not positive.
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

    def start(self) -> None:
        """Start the checks now, so that the first answer need not wait for them."""
        self._asked()

    def stop(self) -> None:
        """End the threads; a check that is stuck keeps its own until it returns."""
        with self._lock:
            prober, self._prober = self._prober, None
        if prober is not None:
            prober.stop()

    def wake(self) -> None:
        """Keep the checks going because somebody is interested; waits for nothing (a scrape)."""
        self._asked()

    def report(self, exclude: Collection[str] = (), *, wait: bool = True) -> ReadinessReport:
        """
        Say how the checks are doing.

        Args:
            exclude: Names of checks to leave out of the report and of its verdict.
            wait: Whether to wait, within the grace, for first results after the start or a rest.
        """
        prober = self._asked()
        excluded = tuple(name for name in dict.fromkeys(exclude) if name in self._registrations)
        unknown = tuple(name for name in dict.fromkeys(exclude) if name not in self._registrations)
        guards = [
            guard
            for name, guard in prober.guards.items()
            if name not in excluded and not guard.passed
        ]
        if wait:
            prober.settle(guards)
        now = time.monotonic()
        if wait and any(
            not prober.trusts(guard, now) and not prober.held_back(guard) for guard in guards
        ):
            prober.revive()
            prober.settle(guards)
            now = time.monotonic()
        reports = [self._report_on(guard, prober, now) for guard in guards if not _is_gate(guard)]
        gates = [
            self._report_on(guard, prober, now)
            for guard in guards
            if _is_gate(guard) and not guard.passed
        ]
        ready = not gates and all(each.result.healthy or not each.critical for each in reports)
        explained = any(not each.result.healthy and each.critical for each in reports)
        shown = [
            each for each in gates if not explained or (each.outcome and each.outcome.answered)
        ]
        return ReadinessReport(
            ready=ready, checks=(*reports, *shown), excluded=excluded, unknown=unknown
        )

    def startup(self) -> CheckResult:
        """Say whether every gate was passed or need not be waited for; else why not."""
        if all(not registration.gate for registration in self._registrations.values()):
            return STARTED
        prober = self._asked_for_gates()
        for guard in prober.guards.values():
            if not _is_gate(guard) or guard.passed:
                continue
            result = self._report_on(guard, prober, time.monotonic()).result
            if result.blocks_startup:
                return result
        return STARTED

    def _asked_for_gates(self) -> Prober:
        """Passed gates stay passed: asking about them must not keep the checks going."""
        prober = self._prober
        if prober is not None and all(g.passed for g in prober.guards.values() if _is_gate(g)):
            return prober
        prober = self._asked()
        prober.settle(guard for guard in prober.guards.values() if _is_gate(guard))
        return prober

    def _add(self, registration: Registration) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", registration.name):
            raise ValueError(f"check name {registration.name!r} is no lower-case word")
        if registration.name in self._registrations:
            raise ValueError(f"check {registration.name!r} is registered already")
        if not registration.timeout_seconds > 0:
            raise ValueError("timeout_seconds must be positive")
        self.stop()  # a prober that runs does not know the newcomer; the next question starts one
        self._registrations[registration.name] = registration

    def _asked(self) -> Prober:
        prober = self._prober
        if prober is None or not prober.alive:
            prober = self._started()
        prober.ask()
        return prober

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
                log.error("health_prober_not_started", extra={"reason": "no thread to be had"})
            return prober

    def _report_on(self, guard: GuardedCheck, prober: Prober, now: float) -> CheckReport:
        registration, outcome = guard.registration, guard.outcome
        trusted = prober.trusts(guard, now)
        if trusted:
            assert outcome is not None  # noqa: S101 — nothing is trusted that is not there
            result = outcome.result
        else:
            result = self._unknown(guard, now)
        self._note_stale(registration.name, not trusted and outcome is not None)
        return CheckReport(
            name=registration.name,
            critical=registration.critical,
            result=result,
            outcome=outcome,
            age_seconds=None if outcome is None else now - guard.confirmed_at,
        )

    def _unknown(self, guard: GuardedCheck, now: float) -> CheckResult:
        """No result, or one too old to trust, is unhealthy: nobody knows better."""
        registration, started_at = guard.registration, guard.started_at()
        pending = guard.outcome is None or started_at is not None
        return registration.complete(
            CheckResult(
                healthy=False,
                message=f"{registration.title} check {'pending' if pending else 'stale'}",
            ),
            None if started_at is None else now - started_at,
        )

    def _note_stale(self, name: str, stale: bool) -> None:
        if stale and name not in self._stale:
            self._stale.add(name)
            log.error("health_check_stale", extra={"check": name})
        elif not stale and self._stale:
            self._stale.discard(name)

    def _after_fork(self) -> None:
        """Threads do not cross a fork, and a lock may have been held by one: begin anew."""
        self._lock = threading.Lock()
        self._prober = None
        self._stale = set()


STARTED: Final = CheckResult(healthy=True, message="Started")


def _is_gate(guard: GuardedCheck) -> bool:
    return guard.registration.gate


_registries: weakref.WeakSet[HealthRegistry] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for registry in list(_registries):
        registry._after_fork()


# One hook for all registries: what is registered here can never be taken back.
os.register_at_fork(after_in_child=_after_fork_in_child)
