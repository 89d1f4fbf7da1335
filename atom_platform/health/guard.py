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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final, TypeAlias

from atom_platform.health.outcome import Outcome
from atom_platform.health.result import Check, CheckFailed, CheckResult

__all__ = ["GuardedCheck", "OnResult", "Registration"]

log = logging.getLogger("atom_platform.health")

OnResult: TypeAlias = Callable[[str, CheckResult, float], object]

RETRY_SECONDS: Final = 1.2
"""How long a run may take after one that was late. A connection opened while the dependency was
silent may stay silent for ever, so waiting the whole deadline on it would delay the recovery."""

FULL_RETRY_SECONDS: Final = 60.0
"""How often a run gets the whole deadline all the same: or a dependency that has become slow, but
not too slow, would never be healthy again."""

CANCEL_SECONDS: Final = 1.0
"""How long the next run waits for a `cancel` that does not return."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """
    A check, and how to treat it.

    Attributes:
        name: The check's key in the answer; capitalised, the first word of our own messages.
        check: The check. It may block and it may raise.
        timeout_seconds: Longest a run may take.
        critical: Whether an unhealthy result takes the worker out of service.
        cancel: Makes a blocked run return. Called at the deadline from a thread of its own, again
            while the run goes on, and possibly just after it has ended.
        measures: Details that are always shown, null when a run did not come so far.
        measures_latency: Whether `latency_ms`, the duration of the run, is shown.
        gate: Whether the check is over for good once it was healthy.
        after: A check that must be healthy before this one runs.
    """

    name: str
    check: Check
    timeout_seconds: float
    critical: bool = True
    cancel: Callable[[], object] | None = None
    measures: tuple[str, ...] = ()
    measures_latency: bool = False
    gate: bool = False
    after: str | None = None

    @property
    def title(self) -> str:
        """The name as the first word of a sentence."""
        return self.name.capitalize()

    def complete(self, result: CheckResult, seconds: float | None) -> CheckResult:
        """Return *result* with the details that this check always shows, in their order."""
        details: dict[str, float | None] = dict.fromkeys(self.measures)
        details.update(_finite(result.details))
        if self.measures_latency:
            details["latency_ms"] = None if seconds is None else round(seconds * 1000, 2)
        return CheckResult(result.healthy, result.message, details, result.blocks_startup)


class _Run:
    __slots__ = ("deadline", "late", "next_cancel", "patience", "started_at")

    def __init__(self, started_at: float, patience: float) -> None:
        self.started_at = started_at
        self.patience = patience
        self.deadline = started_at + patience
        self.late = False
        self.next_cancel = math.inf


#: What was known, what is known now, and what the check raised.
_News: TypeAlias = tuple[Outcome | None, Outcome, BaseException | None]


class GuardedCheck:
    """
    Runs a check in its own thread when `tick` says so; `outcome` is what to report.

    Args:
        changed: Called, from any thread, after a run has ended or its verdict is known.
        on_result: Called after each verdict with name, result and seconds; it may raise.
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
        #: When the outcome was last known to hold, on the monotonic clock. Runs that are still
        #: stuck, or were cut short, confirm a timeout without a new outcome.
        self.confirmed_at = -math.inf
        self._period_seconds = period_seconds
        self._changed = changed
        self._on_result = on_result
        self._lock = threading.Lock()
        self._run: _Run | None = None
        self._next_start = -math.inf
        self._was_late = False
        self._last_full_start = -math.inf
        self._cancelling: threading.Thread | None = None
        self._jobs: SimpleQueue[_Run | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def passed(self) -> bool:
        """Whether this is a gate that was healthy once."""
        return self.registration.gate and self.outcome is not None and self.outcome.result.healthy

    def started_at(self) -> float | None:
        """When the run in flight started, on the monotonic clock; None when none is."""
        run = self._run
        return None if run is None else run.started_at

    def tick(self, now: float, *, may_start: bool) -> float:
        """Start a run that is due, or end the patience with one; return when to come again."""
        news: _News | None = None
        stuck = False
        with self._lock:
            run = self._run
            if run is None:
                if self.passed or not may_start:
                    return math.inf
                if now < self._next_start:
                    return self._next_start
                run, news = self._start(now)
                again = run.deadline if run is not None else self._next_start
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

    # The following run under the lock.

    def _start(self, now: float) -> tuple[_Run | None, _News | None]:
        full = (
            not self._was_late
            or self.registration.cancel is None
            or now - self._last_full_start >= FULL_RETRY_SECONDS
        )
        if full:
            self._last_full_start = now
        if self._thread is None or not self._thread.is_alive():
            name = f"health-{self.registration.name}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the process may have no more threads
                self._next_start = now + self._period_seconds
                return None, self._publish(self._failure(error), now, 0.0, error=error)
            self._thread = thread
        timeout = self.registration.timeout_seconds
        self._run = _Run(now, timeout if full else min(timeout, RETRY_SECONDS))
        self._jobs.put(self._run)
        return self._run, None

    def _overdue(self, run: _Run, now: float) -> _News | None:
        first = not run.late
        run.late = self._was_late = True
        run.next_cancel = now + CANCEL_SECONDS
        self.confirmed_at = now
        if first and run.patience < self.registration.timeout_seconds:
            # Cut short: the verdict of the run that had the whole deadline stands.
            self.outcome = self.outcome and self.outcome.confirmed()
        elif first:
            return self._publish(self._timeout(), now, now - run.started_at)
        return None

    def _publish(
        self,
        result: CheckResult,
        now: float,
        seconds: float,
        *,
        answered: bool = False,
        error: BaseException | None = None,
    ) -> _News:
        previous = self.outcome
        self.outcome = Outcome.after(
            previous,
            self.registration.complete(result, seconds),
            answered=answered,
            duration_seconds=seconds,
            finished_at=now,
            unix_seconds=time.time(),
        )
        self.confirmed_at = now
        return previous, self.outcome, error

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
                error, result = raised, self._failure(raised)
            self._settle(run, started_at, result, error)
            del error, result  # a traceback keeps alive what its frames hold

    def _settle(
        self, run: _Run, started_at: float, result: CheckResult, error: BaseException | None
    ) -> None:
        now = time.monotonic()
        news: _News | None = None
        with self._lock:
            self._run = None
            if run.late:
                # What comes after the deadline is no result. The next run, now, has the word.
                self._next_start = max(now, self._next_start)
            else:
                overslept = now - run.started_at > self.registration.timeout_seconds
                self._was_late = False
                self._next_start = run.started_at + self._period_seconds
                news = self._publish(
                    self._timeout() if overslept else result,
                    now,
                    now - (run.started_at if overslept else started_at),
                    answered=error is None and not overslept,
                    error=error,
                )
        self._changed()
        if news is not None:
            self._tell(*news)

    def _timeout(self) -> CheckResult:
        seconds = self.registration.timeout_seconds
        return CheckResult(
            healthy=False, message=f"{self.registration.title} timeout after {seconds:.1f}s"
        )

    def _failure(self, error: BaseException) -> CheckResult:
        known = isinstance(error, CheckFailed) and str(error)
        return CheckResult(
            healthy=False, message=known or f"{self.registration.title} check failed"
        )

    def _let_go(self, news: _News | None, *, cancel: bool) -> None:
        """Tell and cancel, in a thread of its own: neither may hold up the watchdog."""
        wanted = self.registration.cancel if cancel else None
        if wanted is None and news is None:
            return
        if self._cancelling is not None and self._cancelling.is_alive():
            return
        if wanted is not None:
            # The next run waits, or a slow `cancel` would hit the connection that it has opened.
            with self._lock:
                self._next_start = time.monotonic() + CANCEL_SECONDS

        def let_go() -> None:
            if news is not None:
                self._tell(*news)
            if wanted is not None:
                try:
                    wanted()
                except Exception:
                    log.exception(
                        "health_check_cancel_failed", extra={"check": self.registration.name}
                    )
                with self._lock:
                    self._next_start = time.monotonic()
                self._changed()

        name = f"health-{self.registration.name}-cancel"
        thread = threading.Thread(target=let_go, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread for it: say it here, and try to cancel a second later
            if news is not None:
                self._tell(*news)
        else:
            self._cancelling = thread

    def _tell(
        self, previous: Outcome | None, outcome: Outcome, error: BaseException | None
    ) -> None:
        name = self.registration.name
        if outcome.turned(previous):
            if outcome.result.healthy:
                assert previous is not None  # noqa: S101 — the first healthy outcome is no news
                log.info(
                    "health_check_recovered",
                    extra={
                        "check": name,
                        "outage_seconds": round(outcome.since - previous.since, 3),
                        "failures": previous.consecutive_failures,
                    },
                )
            else:
                log.warning(
                    "health_check_unhealthy",
                    extra={"check": name, "reason": outcome.result.message},
                    exc_info=error,
                )
        if self._on_result is not None:
            try:
                self._on_result(name, outcome.result, outcome.duration_seconds)
            except Exception:
                self._on_result = None
                log.exception("health_check_callback_failed", extra={"check": name})


def _finite(details: Mapping[str, float | None]) -> dict[str, float | None]:
    """JSON has no NaN and no infinity."""
    return {
        key: value if value is None or math.isfinite(value) else None
        for key, value in details.items()
    }
