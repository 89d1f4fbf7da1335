"""What the checks say together: the values a readiness answer is made of."""

from __future__ import annotations

from dataclasses import dataclass

from atom_platform.health.guard import GuardedCheck
from atom_platform.health.outcome import Outcome
from atom_platform.health.result import CheckResult

__all__ = ["CheckReport", "ReadinessReport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """
    One check in a report.

    Attributes:
        result: What to show; not always the outcome's: that may be missing or too old.
        outcome: The last run that counts, with its history; None before the first.
        confirmed_at: When that was last known to hold, on the monotonic clock.
    """

    name: str
    critical: bool
    result: CheckResult
    outcome: Outcome | None
    confirmed_at: float

    @classmethod
    def of(cls, guard: GuardedCheck, *, trusted: bool, now: float) -> CheckReport:
        """
        Report on *guard* at the moment *now*.

        Nobody knows better than the last run; when there is none, or it is too old to be
        *trusted*, the check counts as unhealthy.
        """
        registration, outcome, started_at = guard.registration, guard.outcome, guard.started_at
        if trusted and outcome is not None:
            result = outcome.result
        else:
            result = registration.completed(
                registration.unknown(pending=outcome is None or started_at is not None),
                None if started_at is None else now - started_at,
            )
        return cls(
            name=registration.name,
            critical=registration.critical,
            result=result,
            outcome=outcome,
            confirmed_at=guard.confirmed_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadinessReport:
    """
    Whether the worker can do its work, and each check's part in that.

    Attributes:
        ready: Whether every critical check is healthy and every gate passed.
        checks: In the order of registration; gates last, and only where they explain something.
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
        gates: list[CheckReport],
        *,
        excluded: tuple[str, ...],
        unknown: tuple[str, ...],
    ) -> ReadinessReport:
        """
        Put the reports on *checks* and on *gates* together.

        A shut gate appears when it said no itself, or when nothing else says why the worker is out.
        """
        healthy = all(each.result.healthy or not each.critical for each in checks)
        shut = [gate for gate in gates if not gate.result.healthy]
        shown = [gate for gate in shut if healthy or (gate.outcome and gate.outcome.answered)]
        return cls(
            ready=healthy and not shut,
            checks=(*checks, *shown),
            excluded=excluded,
            unknown=unknown,
        )
