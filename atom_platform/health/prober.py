"""
The prober: one watchdog thread per process that keeps the outcomes of all checks fresh.

It works while somebody asks and rests when nobody does. It never runs a check itself and never
waits for one, so a check that hangs holds up neither the others nor their deadlines.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from typing import Final

from atom_platform.health.guard import GuardedCheck
from atom_platform.health.news import OnResult
from atom_platform.health.registration import Registration
from atom_platform.health.report import CheckReport

__all__ = ["Prober"]

log = logging.getLogger("atom_platform.health")

TRUST_SECONDS: Final = 3.0
"""How far beyond deadline and period an outcome may be believed. The watchdog keeps well inside of
it; an older one means that the watchdog itself is gone or gets no time."""

REVIVE_SECONDS: Final = 10.0
"""How rarely a new grace is granted when outcomes have become too old on their own."""


class Prober:
    """
    Runs the checks of *registrations* side by side, each once a period.

    Args:
        period_seconds: From the start of a run to the start of the next.
        rest_after_seconds: How long it goes on when nobody asks.
        grace_seconds: How long an answer waits for the first runs after the start or a rest. One
            span shared by everyone who asks, or a crowd would wait in turns.
    """

    def __init__(
        self,
        registrations: Sequence[Registration],
        *,
        on_result: OnResult | None,
        period_seconds: float,
        rest_after_seconds: float,
        grace_seconds: float,
    ) -> None:
        self.guards = {
            registration.name: GuardedCheck(
                registration,
                period_seconds=period_seconds,
                changed=self._poke,
                on_result=on_result,
            )
            for registration in registrations
        }
        self.gates = tuple(guard for guard in self.guards.values() if guard.registration.gate)
        self._period_seconds = period_seconds
        self._rest_after_seconds = rest_after_seconds
        self._grace_seconds = grace_seconds
        self._condition = threading.Condition()
        self._poked = False
        self._stopped = False
        self._resting = False
        self._asked_at = self._woke_at = time.monotonic()
        self._stale: set[str] = set()
        self._thread: threading.Thread | None = None

    def start(self) -> bool:
        """Make sure that the watchdog lives; return False when no thread is to be had for it."""
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
    def resting(self) -> bool:
        """Whether nobody has asked for so long that the next question has to wake it."""
        return self._resting

    def stop(self, timeout_seconds: float = 1.0) -> None:
        """End the watchdog, and each check's thread once its run has ended."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        for guard in self.guards.values():
            guard.stop()

    def ask(self) -> None:
        """Say that somebody wants to know; waits for nothing."""
        self._asked_at = time.monotonic()
        if self._resting:
            with self._condition:
                if self._resting:
                    self._resting = False
                    self._woke_at = self._asked_at
                    self._poked = True
                    self._condition.notify_all()

    def settle(self, guards: Sequence[GuardedCheck]) -> None:
        """Wait until *guards* know something since the last start or rest, or the grace is over."""
        self._wait(guards)
        now = time.monotonic()
        if any(now > self.trusted_until(each) and not self._held_back(each) for each in guards):
            # Nobody let the prober rest, and yet it is behind: so it looks to a process that was
            # stopped and goes on. Granted rarely, for when the watchdog is gone waiting is no use.
            with self._condition:
                if now - self._woke_at > REVIVE_SECONDS:
                    self._woke_at = now
                    self._poked = True
                    self._condition.notify_all()
            self._wait(guards)

    def settled(self, guards: Sequence[GuardedCheck]) -> bool:
        """Whether waiting for *guards* would bring nothing."""
        return all(
            guard.passed or guard.confirmed_at >= self._woke_at or self._held_back(guard)
            for guard in guards
        )

    def report_on(self, guard: GuardedCheck, now: float) -> CheckReport:
        """Return what to say of *guard* at the moment *now*."""
        trusted = now <= self.trusted_until(guard)
        report = CheckReport.of(guard, trusted=trusted, now=now)
        if trusted or report.outcome is None:
            self._stale.discard(report.name)
        elif report.name not in self._stale:
            self._stale.add(report.name)
            log.error("health_check_stale", extra={"check": report.name})
        return report

    def trusted_until(self, guard: GuardedCheck) -> float:
        """Return until when the outcome of *guard* may be reported, on the monotonic clock."""
        if guard.passed:
            return math.inf
        seconds = guard.registration.timeout_seconds + self._period_seconds + TRUST_SECONDS
        return guard.confirmed_at + seconds

    def knowledge(self) -> tuple[object, ...]:
        """Return what changes when a report would: for comparing, nothing else."""
        known: list[object] = [self._woke_at]
        for guard in self.guards.values():
            known += (guard.outcome, guard.confirmed_at)
        return tuple(known)

    def _wait(self, guards: Sequence[GuardedCheck]) -> None:
        seconds = self._woke_at + self._grace_seconds - time.monotonic()
        if seconds > 0 and not self.settled(guards):
            with self._condition:
                self._condition.wait_for(lambda: self.settled(guards), seconds)

    def _held_back(self, guard: GuardedCheck) -> bool:
        """Whether *guard* waits for a check that is known to be unhealthy."""
        first = self.guards.get(guard.registration.after or "")
        return (
            first is not None
            and first.outcome is not None
            and first.confirmed_at >= self._woke_at
            and not first.outcome.result.healthy
        )

    def _may_start(self, guard: GuardedCheck) -> bool:
        first = self.guards.get(guard.registration.after or "")
        return first is None or (first.outcome is not None and first.outcome.result.healthy)

    def _poke(self) -> None:
        with self._condition:
            self._poked = True
            self._condition.notify_all()

    def _watch(self) -> None:
        while not self._stopped:
            try:
                again = self._round(time.monotonic())
            except Exception:  # a defect of ours must not end the only thread that keeps deadlines
                log.exception("health_prober_failed")
                again = time.monotonic() + self._period_seconds
            with self._condition:
                if not self._poked and not self._stopped:
                    seconds = None if again == math.inf else max(0.0, again - time.monotonic())
                    self._condition.wait(seconds)
                self._poked = False

    def _round(self, now: float) -> float:
        if now - self._asked_at > self._rest_after_seconds and not self._resting:
            self._resting = True
            if now - self._asked_at <= self._rest_after_seconds:  # asked between the two lines
                self._resting = False
        return min(
            (
                guard.tick(now, may_start=not self._resting and self._may_start(guard))
                for guard in self.guards.values()
            ),
            default=math.inf,
        )
