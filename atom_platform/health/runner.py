"""
Runs one check in a thread of its own and keeps its deadline.

Python cannot interrupt a thread that is blocked in a system call, so no thread waits for it. At the
deadline the prober's watchdog calls `CheckRunner.tick`, which publishes a timeout and calls the
check's `cancel`. A new run starts only after the blocked one has ended. A dependency that hangs
costs one thread, however many probes ask.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final, TypeAlias

from atom_platform.health.check import CheckReport, CheckResult, CheckStatus, Registration

__all__ = ["CheckEvent", "CheckRun", "CheckRunner", "DeadlinePolicy", "OnResult"]

log = logging.getLogger("atom_platform.health")

CANCEL_SECONDS: Final = 1.0
"""How long the next run waits for a `cancel` that does not return."""

RETRY_SECONDS: Final = 1.2
"""The deadline of a run after a timeout. A connection opened while the dependency was silent may
stay silent for ever; waiting the whole deadline on it would delay the recovery."""

FULL_RETRY_SECONDS: Final = 60.0
"""How often a run gets the whole deadline during an outage. Otherwise a dependency that has become
slow, but answers within the deadline, would never be healthy again."""

OnResult: TypeAlias = Callable[[str, CheckResult, float], object]


class CheckRun:
    """
    One run. Changed only under its runner's lock.

    Attributes:
        short: Whether it has less than the check's whole deadline.
        late: Whether the deadline has passed; its result is ignored from then on.
        next_cancel: When to call `cancel` again, on the monotonic clock.
    """

    __slots__ = ("deadline", "late", "next_cancel", "short", "started_at")

    def __init__(self, started_at: float, seconds: float, *, short: bool) -> None:
        self.started_at = started_at
        self.deadline = started_at + seconds
        self.short = short
        self.late = False
        self.next_cancel = math.inf


class DeadlinePolicy:
    """Chooses the deadline of each run of a check."""

    def __init__(self, registration: Registration) -> None:
        self._registration = registration
        self._last_timed_out = False
        self._last_full_start = -math.inf

    def new_run(self, now: float) -> CheckRun:
        """
        Return a run that starts *now*, with a short deadline if the last run timed out.

        A check that cannot be cancelled always has the whole deadline: a shorter one would not end
        its run.
        """
        seconds = self._registration.timeout_seconds
        if (
            self._last_timed_out
            and self._registration.cancel is not None
            and seconds > RETRY_SECONDS
            and now - self._last_full_start < FULL_RETRY_SECONDS
        ):
            return CheckRun(now, RETRY_SECONDS, short=True)
        self._last_full_start = now
        return CheckRun(now, seconds, short=False)

    def record_timeout(self) -> None:
        """Record that a run exceeded its deadline."""
        self._last_timed_out = True

    def record_in_time(self) -> None:
        """Record that a run ended within its deadline."""
        self._last_timed_out = False


@dataclass(frozen=True, slots=True)
class CheckEvent:
    """
    A new status of a check, to be published outside of any lock.

    Attributes:
        error: The exception of the check, for the log only. Its traceback keeps the frames' values
            alive, so an event is published and dropped.
    """

    name: str
    previous: CheckStatus | None
    status: CheckStatus
    error: BaseException | None = None

    def publish(self, on_result: OnResult | None) -> None:
        """Log a change between healthy and unhealthy, and call *on_result*; never raises."""
        changed = self.status.changed_from(self.previous)
        if changed and self.previous is not None and self.status.result.healthy:
            log.info(
                "health_check_recovered",
                extra={
                    "check": self.name,
                    "outage_seconds": round(self.status.since - self.previous.since, 3),
                    "failures": self.previous.consecutive_failures,
                },
            )
        elif changed:
            log.warning(
                "health_check_unhealthy",
                extra={"check": self.name, "reason": self.status.result.message},
                exc_info=self.error,
            )
        if on_result is None:
            return
        try:
            on_result(self.name, self.status.result, self.status.duration_seconds)
        except Exception:
            # A callback fails on every run or on none: one traceback per change is enough.
            log.log(
                logging.ERROR if changed or self.previous is None else logging.DEBUG,
                "health_check_callback_failed",
                extra={"check": self.name},
                exc_info=True,
            )


class CheckRunner:
    """
    Runs a check in its own thread when `tick` starts it. Never two runs at once.

    Args:
        period_seconds: From the start of a run to the start of the next.
        on_change: Called, from any thread, after a run has ended or has timed out.
        on_result: Called after each run with name, result and seconds; it may raise.

    Attributes:
        status: The last run that counts; None before the first.
        confirmed_at: When the status was last known to hold, on the monotonic clock. A run that
            is still blocked, or was cut short, confirms a timeout.
    """

    def __init__(
        self,
        registration: Registration,
        *,
        period_seconds: float,
        on_change: Callable[[], None],
        on_result: OnResult | None,
    ) -> None:
        self.registration = registration
        self.status: CheckStatus | None = None
        self.confirmed_at = -math.inf
        self._period_seconds = period_seconds
        self._on_change = on_change
        self._on_result = on_result
        self._lock = threading.Lock()
        self._run: CheckRun | None = None
        self._next_start = self._timeout_holds_until = -math.inf
        self._deadlines = DeadlinePolicy(registration)
        self._cancel_thread: threading.Thread | None = None
        self._jobs: SimpleQueue[CheckRun | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def passed(self) -> bool:
        """Whether this is a startup check that was healthy once."""
        return (
            self.registration.at_startup and self.status is not None and self.status.result.healthy
        )

    def report(self, now: float, *, fresh: bool) -> CheckReport:
        """
        Return what to show at the moment *now*.

        Args:
            fresh: Whether the status is recent enough; otherwise the check counts as unhealthy.
        """
        run, status = self._run, self.status
        if fresh and status is not None:
            result = status.result
        else:
            result = self.registration.completed(
                self.registration.unknown(pending=status is None or run is not None),
                None if run is None else now - run.started_at,
            )
        return CheckReport(
            name=self.registration.name,
            critical=self.registration.critical,
            result=result,
            status=status,
            confirmed_at=self.confirmed_at,
        )

    def tick(self, now: float, *, may_start: bool) -> float:
        """Start a run that is due, or time out the one in flight; return when to call again."""
        event: CheckEvent | None = None
        cancel = False
        with self._lock:
            run = self._run
            if run is None:
                if self.passed or not may_start:
                    return math.inf
                if now < self._next_start:
                    return self._next_start
                event = self._start(now)
                again = self._next_start if self._run is None else self._run.deadline
            elif now < run.deadline:
                return run.deadline
            else:
                if not run.late or now >= run.next_cancel:
                    cancel, event = True, self._time_out(run, now)
                again = run.next_cancel
        if event is not None:
            self._on_change()
        if cancel or event is not None:
            self._publish_and_cancel(event, cancel=cancel)
        return again

    def stop(self) -> None:
        """End the thread after the run in flight, and cancel that run."""
        self._jobs.put(None)
        if self._run is not None:
            self._publish_and_cancel(None, cancel=True)

    # The following three run under the lock.

    def _start(self, now: float) -> CheckEvent | None:
        """Hand a new run to the thread; return an event when there is no thread to be had."""
        if self._thread is None or not self._thread.is_alive():
            name = f"health-{self.registration.name}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the process may have no more threads
                self._next_start = now + self._period_seconds
                return self._new_event(self.registration.failure(error), now, 0.0, error=error)
            self._thread = thread
        self._run = self._deadlines.new_run(now)
        self._jobs.put(self._run)
        return None

    def _time_out(self, run: CheckRun, now: float) -> CheckEvent | None:
        """Mark *run* as late. Only the first timeout of a full deadline is an event."""
        first = not run.late
        run.late = True
        self._deadlines.record_timeout()
        run.next_cancel = now + CANCEL_SECONDS
        self.confirmed_at = now
        if first and run.short:
            # The result of the run with the whole deadline stays.
            self.status = self.status and self.status.confirmed()
        elif first:
            if self.status is None or self.status.result.healthy:
                # The timeout stands for a period. A fresh connection may work while the open ones
                # hang, and a probe between two runs would never see the outage.
                self._timeout_holds_until = now + self._period_seconds
            return self._new_event(self.registration.timeout(), now, now - run.started_at)
        return None

    def _new_event(
        self,
        result: CheckResult,
        now: float,
        seconds: float,
        *,
        answered: bool = False,
        error: BaseException | None = None,
    ) -> CheckEvent:
        """Make *result* the status, and return the event to publish."""
        previous = self.status
        self.status = CheckStatus.after(
            previous,
            self.registration.completed(result, seconds),
            answered=answered,
            duration_seconds=seconds,
            unix_seconds=time.time(),
        )
        self.confirmed_at = now
        return CheckEvent(self.registration.name, previous, self.status, error)

    # The following run in the check's thread, or in a thread of their own: they may block.

    def _work(self) -> None:
        """Run the check for each run handed over; the loop of the check's thread."""
        while (run := self._jobs.get()) is not None:
            started_at = time.monotonic()
            error: BaseException | None = None
            try:
                returned: object = self.registration.check()
                if not isinstance(returned, CheckResult):
                    raise TypeError(f"check returned {type(returned).__name__}, not CheckResult")
                result = returned
            except BaseException as raised:  # no exception may end the thread
                error, result = raised, self.registration.failure(raised)
            self._finish(run, started_at, result, error)
            del error, result

    def _finish(
        self, run: CheckRun, started_at: float, result: CheckResult, error: BaseException | None
    ) -> None:
        """Record the result of *run*, unless its deadline has passed."""
        now = time.monotonic()
        event: CheckEvent | None = None
        with self._lock:
            self._run = None
            if run.late:
                # A result after the deadline is ignored; the next run decides.
                self._next_start = max(now, self._next_start, self._timeout_holds_until)
            else:
                overslept = now - run.started_at > self.registration.timeout_seconds
                self._deadlines.record_in_time()
                self._next_start = run.started_at + self._period_seconds
                event = self._new_event(
                    self.registration.timeout() if overslept else result,
                    now,
                    now - (run.started_at if overslept else started_at),
                    answered=error is None and not overslept,
                    error=error,
                )
        self._on_change()
        if event is not None:
            event.publish(self._on_result)

    def _publish_and_cancel(self, event: CheckEvent | None, *, cancel: bool) -> None:
        """Publish *event* and call `cancel` in a separate thread: both may block the watchdog."""
        call = self.registration.cancel if cancel else None
        if (call is None and event is None) or (
            self._cancel_thread is not None and self._cancel_thread.is_alive()
        ):
            return
        if call is not None:
            # The next run waits. A slow `cancel` would otherwise hit the connection it has opened.
            with self._lock:
                self._next_start = time.monotonic() + CANCEL_SECONDS

        def work() -> None:
            if event is not None:
                event.publish(self._on_result)
            if call is not None:
                try:
                    call()
                except Exception:
                    log.exception(
                        "health_check_cancel_failed", extra={"check": self.registration.name}
                    )
                with self._lock:
                    self._next_start = max(time.monotonic(), self._timeout_holds_until)
                self._on_change()

        name = f"health-{self.registration.name}-cancel"
        thread = threading.Thread(target=work, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread: publish here, and try to cancel a second later
            if event is not None:
                event.publish(self._on_result)
        else:
            self._cancel_thread = thread
