"""
The health of this worker's connection pool: a circuit breaker between the pool and the database.

When the database is down, readiness says so; replacing workers would only add many new connections.
When the pool stays broken while the check's connection works, the worker itself is broken. Then the
pool is reset, and a worker whose pool does not recover is restarted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

__all__ = ["PoolAction", "PoolHealth"]

#: How long the pool must fail while the ping works before it counts as broken.
SUSPECT_SECONDS: Final = 5.0

#: How long a pool may go on failing after its reset before the worker is restarted.
RECOVERY_SECONDS: Final = 60.0

#: How long a failure counts; afterwards the pool may not have been used since.
FAILURE_MEMORY_SECONDS: Final = 30.0


class PoolAction(Enum):
    """What the pool needs now."""

    NOTHING = auto()
    RECONNECT_PING = auto()
    RESET_POOL = auto()
    RESTART_WORKER = auto()


class PoolHealth:
    """
    Compares the results of the pool with those of the ping.

    A busy pool is not broken. A thread that finds no free connection counts as a failure only when
    no statement has ended for longer than a statement may take.

    Args:
        statement_seconds: Longest that a statement may take.
        clock: A monotonic clock, in seconds.
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

    def record_success(self) -> None:
        """Record a statement that ended, with a result or an error of the server."""
        with self._lock:
            self._progress_at = self._clock()
            self._broken_since = self._reset_at = None

    def record_failure(self) -> None:
        """Record a connection that was lost or could not be made."""
        with self._lock:
            self._failed()

    def record_exhausted(self) -> None:
        """Record a thread that timed out waiting for a free connection."""
        with self._lock:
            if self._clock() - self._progress_at > self._statement_seconds + SUSPECT_SECONDS:
                self._failed()

    def record_ping_failure(self) -> None:
        """Record that the database cannot be reached, which explains all failures of the pool."""
        with self._lock:
            self._broken_since = self._ping_works_since = self._reset_at = None
            self._ping_is_fresh = False

    def evaluate(self) -> PoolAction:
        """Record that the database answers; return what the pool needs."""
        with self._lock:
            now = self._clock()
            if self._ping_works_since is None:
                self._ping_works_since = now
            if self._broken_since is None or now - self._failed_at > FAILURE_MEMORY_SECONDS:
                self._ping_is_fresh = False
                return PoolAction.NOTHING
            since = max(self._broken_since, self._ping_works_since)
            if self._reset_at is None:
                due = self._failed_at > since and now - since >= SUSPECT_SECONDS
            else:
                due = now - self._reset_at >= RECOVERY_SECONDS
            if not due:
                return PoolAction.NOTHING
            if not self._ping_is_fresh:
                # The ping's open connection survives a changed password or a connection limit, so
                # only a new one proves that the pool could connect.
                self._ping_is_fresh = True
                return PoolAction.RECONNECT_PING
            self._ping_is_fresh = False
            if self._reset_at is None:
                self._reset_at, self._broken_since = now, None
                return PoolAction.RESET_POOL
            self._reset_at = now  # if the restart fails, the next attempt is a minute away
            return PoolAction.RESTART_WORKER

    def _failed(self) -> None:
        self._failed_at = self._clock()
        if self._broken_since is None:
            self._broken_since = self._failed_at
