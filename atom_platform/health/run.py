"""One run of a check, and how long to be patient with it."""

from __future__ import annotations

import math
from typing import Final

from atom_platform.health.registration import Registration

__all__ = ["Patience", "Run"]

RETRY_SECONDS: Final = 1.2
"""How long a run may take after one that was late. A connection opened while the dependency was
silent may stay silent for ever, so waiting the whole deadline on it would delay the recovery."""

FULL_RETRY_SECONDS: Final = 60.0
"""How often a run gets the whole deadline all the same: or a dependency that has become slow, but
not too slow, would never be healthy again."""


class Run:
    """
    One run. Changed only under its guard's lock.

    Attributes:
        short: Whether it has less than the check's whole deadline.
        late: Whether the deadline has passed; what it returns from then on is no result.
        next_cancel: When to ask it (again) to let go.
    """

    __slots__ = ("deadline", "late", "next_cancel", "short", "started_at")

    def __init__(self, started_at: float, seconds: float, *, short: bool) -> None:
        self.started_at = started_at
        self.deadline = started_at + seconds
        self.short = short
        self.late = False
        self.next_cancel = math.inf


class Patience:
    """Decides how long each run of a check may take."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration
        self._lost = False
        self._last_full_start = -math.inf

    def new_run(self, now: float) -> Run:
        """
        Return a run that starts *now*, with the whole deadline unless the last run was late.

        A check that cannot be cancelled has it always: cutting a run short would not end it.
        """
        seconds = self._registration.timeout_seconds
        if (
            self._lost
            and self._registration.cancel is not None
            and seconds > RETRY_SECONDS
            and now - self._last_full_start < FULL_RETRY_SECONDS
        ):
            return Run(now, RETRY_SECONDS, short=True)
        self._last_full_start = now
        return Run(now, seconds, short=False)

    def lose(self) -> None:
        """Note that a run was late."""
        self._lost = True

    def regain(self) -> None:
        """Note that a run was in time."""
        self._lost = False
