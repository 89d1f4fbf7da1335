"""
Whose fault it is when the application's queries fail: the database's, or this worker's own pool's.

A database that is down is readiness's business; replacing workers over it would only add a storm of
connections. But a worker whose pool stays broken while a fresh connection works is itself what is
broken, and no probe would ever see it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

__all__ = ["Blame", "Verdict"]

#: How long the pool must fail, beside a ping that works, before it is suspected.
SUSPECT_SECONDS: Final = 5.0

#: How long a healed pool may go on failing before the worker is given up.
LAST_CHANCE_SECONDS: Final = 60.0

#: Evidence that is older says nothing about now: nobody may have used the pool since.
FRESH_SECONDS: Final = 30.0


class Verdict(Enum):
    """What to do now."""

    NOTHING = auto()
    RENEW_PING = auto()
    RESET_POOL = auto()
    END_WORKER = auto()


class Blame:
    """
    Weighs what happens in the pool against what happens to the ping.

    Busy is not broken: a thread that finds no free connection counts as a failure only when no
    statement has ended for longer than any may take.

    Args:
        statement_seconds: Longest a statement may take.
        clock: Seconds that never go back.
    """

    def __init__(
        self, *, statement_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._statement_seconds = statement_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._progress_at = clock()
        self._broken_since: float | None = None
        self._failed_at = 0.0
        self._ping_works_since: float | None = None
        self._ping_is_fresh = False
        self._reset_at: float | None = None

    def pool_worked(self) -> None:
        """A statement has ended as it should, or with an answer of the server's."""
        with self._lock:
            self._progress_at = self._clock()
            self._broken_since = self._reset_at = None

    def pool_failed(self) -> None:
        """A connection was lost or could not be made."""
        with self._lock:
            self._failed()

    def pool_exhausted(self) -> None:
        """A thread has waited in vain for a free connection."""
        with self._lock:
            if self._clock() - self._progress_at > self._statement_seconds + SUSPECT_SECONDS:
                self._failed()

    def ping_failed(self) -> None:
        """The database cannot be reached: whatever happened in the pool is explained by that."""
        with self._lock:
            self._broken_since = self._ping_works_since = self._reset_at = None
            self._ping_is_fresh = False

    def ping_worked(self) -> Verdict:
        """Return what follows from the database being there."""
        with self._lock:
            now = self._clock()
            if self._ping_works_since is None:
                self._ping_works_since = now
            if self._broken_since is None or now - self._failed_at > FRESH_SECONDS:
                self._ping_is_fresh = False
                return Verdict.NOTHING
            since = max(self._broken_since, self._ping_works_since)
            if self._reset_at is None:
                ripe = self._failed_at > since and now - since >= SUSPECT_SECONDS
            else:
                ripe = now - self._reset_at >= LAST_CHANCE_SECONDS
            if not ripe:
                return Verdict.NOTHING
            if not self._ping_is_fresh:
                # An old connection may outlive a password, or a limit that is reached.
                self._ping_is_fresh = True
                return Verdict.RENEW_PING
            self._ping_is_fresh = False
            if self._reset_at is None:
                self._reset_at, self._broken_since = now, None
                return Verdict.RESET_POOL
            self._reset_at = now  # so that who cannot end the worker is not told at every ping
            return Verdict.END_WORKER

    def _failed(self) -> None:
        self._failed_at = self._clock()
        if self._broken_since is None:
            self._broken_since = self._failed_at
