"""Who is told about the verdict on a run: the log once per change, the metrics each time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from atom_platform.health.outcome import Outcome
from atom_platform.health.result import CheckResult

__all__ = ["News", "OnResult"]

log = logging.getLogger("atom_platform.health")

OnResult: TypeAlias = Callable[[str, CheckResult, float], object]


@dataclass(frozen=True, slots=True)
class News:
    """
    One verdict, to be told outside of any lock.

    Attributes:
        error: What the check raised, for the log and nobody else. It keeps alive what the frames
            of its traceback hold, so news is told and dropped.
    """

    name: str
    previous: Outcome | None
    outcome: Outcome
    error: BaseException | None = None

    def tell(self, on_result: OnResult | None) -> None:
        """Write a line if the check turned, and call *on_result*; never raises."""
        if self.outcome.turned(self.previous):
            if self.previous is not None and self.outcome.result.healthy:
                log.info(
                    "health_check_recovered",
                    extra={
                        "check": self.name,
                        "outage_seconds": round(self.outcome.since - self.previous.since, 3),
                        "failures": self.previous.consecutive_failures,
                    },
                )
            else:
                log.warning(
                    "health_check_unhealthy",
                    extra={"check": self.name, "reason": self.outcome.result.message},
                    exc_info=self.error,
                )
        if on_result is not None:
            try:
                on_result(self.name, self.outcome.result, self.outcome.duration_seconds)
            except Exception:
                # It goes wrong on every run, or never: one traceback per turn is enough.
                first = self.previous is None or self.outcome.turned(self.previous)
                log.log(
                    logging.ERROR if first else logging.DEBUG,
                    "health_check_callback_failed",
                    extra={"check": self.name},
                    exc_info=True,
                )
