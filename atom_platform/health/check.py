"""
What a health check is: its result, its registration and its status over time.

Every result has a code: a short, stable identifier for programs, where the message is for humans
and may be reworded. Our own checks use these; an application's check may use any other word.

| code | meaning |
| --- | --- |
| `ok` | healthy, nothing to say |
| `unhealthy` | unhealthy, without a narrower code |
| `check_failed` | the check raised an exception; the log has it |
| `pending`, `stale` | no run has ended yet; the last run is too old to be believed |
| `timeout` | no answer within the deadline |
| `refused`, `unreachable`, `connection_lost`, `host_not_resolvable`, `tls_failed` | the network |
| `authentication_failed`, `wrong_role`, `connection_limit`, `not_accepting` | the server refuses |
| `starting_up`, `shutting_down` | the server restarts |
| `no_such_database`, `pool_exhausted`, `schema_behind`, `schema_ahead` | the database |
| `locked`, `file_inaccessible`, `file_read_only`, `file_damaged` | the SQLite file |
| `disk_low`, `disk_full`, `memory_high` | this machine |
| `missing`, `read_only`, `not_writable`, `io_error`, `stale_mount` | a directory |
| `unexpected_status`, `invalid_response` | an HTTP dependency |
| `never_ran`, `overdue` | a task's heartbeat |
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

__all__ = ["Check", "CheckFailed", "CheckReport", "CheckResult", "CheckStatus", "Registration"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """
    The result of one run of a check.

    Attributes:
        healthy: Whether the dependency can be used right now.
        message: One short sentence for a human; never a secret, a host, a URL or a traceback.
        details: Measurements shown beside it; names carry units (`free_gb`). `None` is shown as
            null: the detail belongs here, and could not be measured.
        blocks_startup: Read for startup checks only: whether a worker with this result has not
            started yet. False for a fault that neither waiting nor a restart can change.
        code: See the module; by default `ok` or `unhealthy`. Shown with `?verbose` only.
    """

    healthy: bool
    message: str
    details: Mapping[str, float | None] = field(default_factory=dict)
    blocks_startup: bool = True
    code: str = ""

    def __post_init__(self) -> None:
        if not self.code:
            object.__setattr__(self, "code", "ok" if self.healthy else "unhealthy")

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of the guide: `healthy`, `message`, then the details."""
        return {"healthy": self.healthy, "message": self.message, **self.details}


class CheckFailed(Exception):
    """
    The dependency cannot be used; the text is a fixed sentence that anyone may read.

    Args:
        message: The sentence.
        code: See `CheckResult`.
    """

    def __init__(self, message: str = "", *, code: str = "unhealthy") -> None:
        super().__init__(message)
        self.code = code


Check: TypeAlias = Callable[[], CheckResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """
    A check with its name and its deadline.

    Attributes:
        name: The check's key in the answer; capitalised, the first word of generated messages.
        check: The check. It may block and it may raise.
        timeout_seconds: The deadline of a run.
        critical: Whether an unhealthy result takes the worker out of service.
        cancel: Makes a blocked run return. Called at the deadline from a thread of its own, again
            while the run goes on, and possibly just after the run has ended.
        measures: Details that are always shown, null when a run did not measure them.
        measures_latency: Whether `latency_ms`, the duration of the run, is shown.
        at_startup: Whether the check need be healthy once only, and is not run afterwards.
        after: A check that must be healthy before this one runs.

    Raises:
        ValueError: The name is no lower-case word, or the timeout is not positive.
    """

    name: str
    check: Check
    timeout_seconds: float
    critical: bool = True
    cancel: Callable[[], object] | None = None
    measures: tuple[str, ...] = ()
    measures_latency: bool = False
    at_startup: bool = False
    after: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"check name {self.name!r} is no lower-case word")
        if not self.timeout_seconds > 0:
            raise ValueError("timeout_seconds must be positive")

    def completed(self, result: CheckResult, seconds: float | None) -> CheckResult:
        """
        Return *result* with the details that this check always shows, in their order.

        JSON has no NaN and no infinity; they become null.

        Args:
            seconds: The duration of the run; None without a run.
        """
        details: dict[str, float | None] = dict.fromkeys(self.measures)
        for key, value in result.details.items():
            details[key] = value if value is not None and math.isfinite(value) else None
        if self.measures_latency:
            details["latency_ms"] = None if seconds is None else round(seconds * 1000, 2)
        return replace(result, details=details)

    def timeout(self) -> CheckResult:
        """Return the result of a run that exceeded its deadline."""
        return self._unhealthy(f"timeout after {self.timeout_seconds:.1f}s", code="timeout")

    def failure(self, error: BaseException) -> CheckResult:
        """Return the result of a run that raised; only the text of a `CheckFailed` is shown."""
        if isinstance(error, CheckFailed) and str(error):
            return CheckResult(healthy=False, message=str(error), code=error.code)
        return self._unhealthy("check failed", code="check_failed")

    def unknown(self, *, pending: bool) -> CheckResult:
        """Return the result to report before the first run has ended, or when it is too old."""
        word = "pending" if pending else "stale"
        return self._unhealthy(f"check {word}", code=word)

    def _unhealthy(self, text: str, *, code: str) -> CheckResult:
        return CheckResult(healthy=False, message=f"{self.name.capitalize()} {text}", code=code)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckStatus:
    """
    The last result of a check and its history. Replaced as a whole, so that readers need no lock.

    Attributes:
        result: The result to report.
        answered: Whether the check itself returned it; False after an exception or a timeout.
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
        previous: CheckStatus | None,
        result: CheckResult,
        *,
        duration_seconds: float,
        unix_seconds: float,
        answered: bool = True,
    ) -> CheckStatus:
        """Return the status that follows *previous*, with the history carried on."""
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

    def confirmed(self) -> CheckStatus:
        """Return this status after one more run that ended no better and gave no new result."""
        return replace(self, consecutive_failures=self.consecutive_failures + 1)

    def changed_from(self, previous: CheckStatus | None) -> bool:
        """Whether `healthy` differs from *previous*; before the first run a check is healthy."""
        return self.result.healthy is not (previous is None or previous.result.healthy)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """
    One check in a readiness report.

    Attributes:
        result: The result to show. It differs from the status's when that is missing or too old.
        status: The last run that counts, with its history; None before the first.
        confirmed_at: When the status was last known to hold, on the monotonic clock.
    """

    name: str
    critical: bool
    result: CheckResult
    status: CheckStatus | None
    confirmed_at: float
