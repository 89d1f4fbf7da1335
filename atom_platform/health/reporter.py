"""
Makes reports of what a prober knows.

A report is asked for far more often than anything changes, so the last one is kept until the prober
learns something or what it says becomes too old.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from atom_platform.health.guard import GuardedCheck
from atom_platform.health.prober import Prober
from atom_platform.health.report import ReadinessReport

__all__ = ["Reporter"]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A report, what the prober knew when it was made, and until when that may be believed."""

    knowledge: tuple[object, ...]
    until: float
    report: ReadinessReport


class Reporter:
    """Reports on the checks of *prober*."""

    def __init__(self, prober: Prober) -> None:
        self.prober = prober
        self._kept: _Kept | None = None

    def report(self, exclude: Collection[str], *, wait: bool) -> ReadinessReport:
        """
        Say how the checks are doing.

        Args:
            exclude: Names of checks to leave out of the report and of its verdict.
            wait: Whether to wait, within the prober's grace, for results that are on their way.
        """
        prober = self.prober
        knowledge = prober.knowledge()
        if not exclude and (kept := self._kept_for(knowledge)) is not None:
            return kept
        names = dict.fromkeys(exclude)
        guards = [guard for guard in self._open_guards() if guard.registration.name not in names]
        if wait:
            prober.settle(guards)
            knowledge = prober.knowledge()
        now = time.monotonic()
        report = self._report_on(guards, now, names)
        if not names and prober.settled(guards):
            self._keep(knowledge, guards, now, report)
        return report

    def report_at_once(self) -> ReadinessReport | None:
        """Return the same, of all checks, or None when somebody would have to wait or to log."""
        prober = self.prober
        knowledge = prober.knowledge()
        kept = self._kept_for(knowledge)
        if kept is not None:
            return kept
        now, guards = time.monotonic(), self._open_guards()
        if not prober.settled(guards) or any(prober.trusted_until(each) <= now for each in guards):
            return None
        report = self._report_on(guards, now, {})
        self._keep(knowledge, guards, now, report)
        return report

    def _open_guards(self) -> list[GuardedCheck]:
        return [guard for guard in self.prober.guards.values() if not guard.passed]

    def _report_on(
        self, guards: list[GuardedCheck], now: float, excluded: Collection[str]
    ) -> ReadinessReport:
        prober = self.prober
        return ReadinessReport.on(
            [prober.report_on(guard, now) for guard in guards if not guard.registration.gate],
            [prober.report_on(guard, now) for guard in guards if guard.registration.gate],
            excluded=tuple(name for name in excluded if name in prober.guards),
            unknown=tuple(name for name in excluded if name not in prober.guards),
        )

    def _kept_for(self, knowledge: tuple[object, ...]) -> ReadinessReport | None:
        kept = self._kept
        if kept is not None and kept.knowledge == knowledge and time.monotonic() < kept.until:
            return kept.report
        return None

    def _keep(
        self,
        knowledge: tuple[object, ...],
        guards: list[GuardedCheck],
        now: float,
        report: ReadinessReport,
    ) -> None:
        until = min(map(self.prober.trusted_until, guards), default=now)
        if now < until:
            self._kept = _Kept(knowledge, until, report)
