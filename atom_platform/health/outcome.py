"""What is known about a check after a run: the result, and what came before it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from atom_platform.health.result import CheckResult

__all__ = ["Outcome"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """
    The last run of a check that counts. Replaced as a whole, so that readers need no lock.

    Attributes:
        result: What to report.
        answered: Whether the check itself said so; it did not when it raised or was late.
        duration_seconds: How long the run took, or had taken at its deadline.
        since: When `healthy` last changed, in seconds of the Unix epoch.
        consecutive_failures: Runs in a row that ended unhealthy, this one included.
        last_success: When a run last ended healthy, in seconds of the Unix epoch.
    """

    result: CheckResult
    answered: bool
    duration_seconds: float
    since: float
    consecutive_failures: int
    last_success: float | None

    @classmethod
    def after(
        cls,
        previous: Outcome | None,
        result: CheckResult,
        *,
        duration_seconds: float,
        unix_seconds: float,
        answered: bool = True,
    ) -> Outcome:
        """Return the outcome that follows *previous*, with the history carried on."""
        same = previous is not None and previous.result.healthy is result.healthy
        failures = previous.consecutive_failures if previous else 0
        last_success = previous.last_success if previous else None
        return cls(
            result=result,
            answered=answered,
            duration_seconds=duration_seconds,
            since=previous.since if previous and same else unix_seconds,
            consecutive_failures=0 if result.healthy else failures + 1,
            last_success=unix_seconds if result.healthy else last_success,
        )

    def confirmed(self) -> Outcome:
        """Return this outcome after one more run that ended no better and said nothing new."""
        return replace(self, consecutive_failures=self.consecutive_failures + 1)

    def turned(self, previous: Outcome | None) -> bool:
        """Whether this is news after *previous*; before the first run a check counts as healthy."""
        return self.result.healthy is not (previous is None or previous.result.healthy)
