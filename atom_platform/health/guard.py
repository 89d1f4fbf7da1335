"""
One check with a thread of its own: never two runs at once, and a verdict by the deadline.

Python cannot interrupt a thread that is blocked in a system call. So nobody waits for it: at the
deadline the watchdog publishes the verdict and asks the check to let go (`cancel`), and no new run
starts before the stuck one has ended. A dependency that hangs costs one thread, however often
somebody asks.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from atom_platform.health.news import News, OnResult
from atom_platform.health.outcome import Outcome
from atom_platform.health.registration import Registration
from atom_platform.health.result import CheckResult
from atom_platform.health.run import Patience, Run

__all__ = ["GuardedCheck"]

log = logging.getLogger("atom_platform.health")

CANCEL_SECONDS: Final = 1.0
"""How long the next run waits for a `cancel` that does not return."""


class GuardedCheck:
    """
    Runs a check in its own thread when `tick` says so.

    Args:
        period_seconds: From the start of a run to the start of the next.
        changed: Called, from any thread, after a run has ended or its verdict is known.
        on_result: Called after each verdict with name, result and seconds; it may raise.

    Attributes:
        outcome: The last run that counts; None before the first.
        confirmed_at: When the outcome was last known to hold, on the monotonic clock. A run that
            is still stuck, or was cut short, confirms a timeout.
    """

    def __init__(
        self,
        registration: Registration,
        *,
        period_seconds: float,
        changed: Callable[[], None],
        on_result: OnResult | None,
    ) -> None:
        self.registration = registration
        self.outcome: Outcome | None = None
        self.confirmed_at = -math.inf
        self._period_seconds = period_seconds
        self._changed = changed
        self._on_result = on_result
        self._lock = threading.Lock()
        self._run: Run | None = None
        self._next_start = self._stands_until = -math.inf
        self._patience = Patience(registration)
        self._letting_go: threading.Thread | None = None
        self._jobs: SimpleQueue[Run | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def passed(self) -> bool:
        """Whether this is a gate that was healthy once."""
        return self.registration.gate and self.outcome is not None and self.outcome.result.healthy

    @property
    def started_at(self) -> float | None:
        """When the run in flight started, on the monotonic clock; None when none is."""
        run = self._run
        return None if run is None else run.started_at

    def tick(self, now: float, *, may_start: bool) -> float:
        """Start a run that is due, or lose patience with one; return when to come again."""
        news: News | None = None
        stuck = False
        with self._lock:
            run = self._run
            if run is None:
                if self.passed or not may_start:
                    return math.inf
                if now < self._next_start:
                    return self._next_start
                news = self._start(now)
                again = self._next_start if self._run is None else self._run.deadline
            elif now < run.deadline:
                return run.deadline
            else:
                if not run.late or now >= run.next_cancel:
                    stuck, news = True, self._overdue(run, now)
                again = run.next_cancel
        if news is not None:
            self._changed()
        if stuck or news is not None:
            self._let_go(news, cancel=stuck)
        return again

    def stop(self) -> None:
        """End the thread after the run in flight, and ask that run to let go."""
        self._jobs.put(None)
        if self._run is not None:
            self._let_go(None, cancel=True)

    # The following three run under the lock.

    def _start(self, now: float) -> News | None:
        if self._thread is None or not self._thread.is_alive():
            name = f"health-{self.registration.name}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the process may have no more threads
                self._next_start = now + self._period_seconds
                return self._publish(self.registration.failure(error), now, 0.0, error=error)
            self._thread = thread
        self._run = self._patience.new_run(now)
        self._jobs.put(self._run)
        return None

    def _overdue(self, run: Run, now: float) -> News | None:
        first = not run.late
        run.late = True
        self._patience.lose()
        run.next_cancel = now + CANCEL_SECONDS
        self.confirmed_at = now
        if first and run.short:
            # Cut short: the verdict of the run that had the whole deadline stands.
            self.outcome = self.outcome and self.outcome.confirmed()
        elif first:
            if self.outcome is None or self.outcome.result.healthy:
                # The news stands for a period: a fresh connection may work while those that were
                # open hang, and an outage that no probe could see would be nobody's.
                self._stands_until = now + self._period_seconds
            return self._publish(self.registration.timeout(), now, now - run.started_at)
        return None

    def _publish(
        self,
        result: CheckResult,
        now: float,
        seconds: float,
        *,
        answered: bool = False,
        error: BaseException | None = None,
    ) -> News:
        previous = self.outcome
        self.outcome = Outcome.after(
            previous,
            self.registration.completed(result, seconds),
            answered=answered,
            duration_seconds=seconds,
            unix_seconds=time.time(),
        )
        self.confirmed_at = now
        return News(self.registration.name, previous, self.outcome, error)

    # The following run in the check's thread, or in one of their own: they may block.

    def _work(self) -> None:
        while (run := self._jobs.get()) is not None:
            started_at = time.monotonic()
            error: BaseException | None = None
            try:
                returned: object = self.registration.check()
                if not isinstance(returned, CheckResult):
                    raise TypeError(f"check returned {type(returned).__name__}, not CheckResult")
                result = returned
            except BaseException as raised:  # whatever it is, the thread must not die of it
                error, result = raised, self.registration.failure(raised)
            self._settle(run, started_at, result, error)
            del error, result

    def _settle(
        self, run: Run, started_at: float, result: CheckResult, error: BaseException | None
    ) -> None:
        now = time.monotonic()
        news: News | None = None
        with self._lock:
            self._run = None
            if run.late:
                # What comes after the deadline is no result. The next run has the word.
                self._next_start = max(now, self._next_start, self._stands_until)
            else:
                overslept = now - run.started_at > self.registration.timeout_seconds
                self._patience.regain()
                self._next_start = run.started_at + self._period_seconds
                news = self._publish(
                    self.registration.timeout() if overslept else result,
                    now,
                    now - (run.started_at if overslept else started_at),
                    answered=error is None and not overslept,
                    error=error,
                )
        self._changed()
        if news is not None:
            news.tell(self._on_result)

    def _let_go(self, news: News | None, *, cancel: bool) -> None:
        """Tell and cancel, in a thread of its own: neither may hold up the watchdog."""
        wanted = self.registration.cancel if cancel else None
        if (wanted is None and news is None) or (
            self._letting_go is not None and self._letting_go.is_alive()
        ):
            return
        if wanted is not None:
            # The next run waits, or a slow `cancel` would hit the connection that it has opened.
            with self._lock:
                self._next_start = time.monotonic() + CANCEL_SECONDS

        def let_go() -> None:
            if news is not None:
                news.tell(self._on_result)
            if wanted is not None:
                try:
                    wanted()
                except Exception:
                    log.exception(
                        "health_check_cancel_failed", extra={"check": self.registration.name}
                    )
                with self._lock:
                    self._next_start = max(time.monotonic(), self._stands_until)
                self._changed()

        name = f"health-{self.registration.name}-cancel"
        thread = threading.Thread(target=let_go, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread for it: say it here, and try to cancel a second later
            if news is not None:
                news.tell(self._on_result)
        else:
            self._letting_go = thread
