"""A check as it was registered: its name, its deadline, and the sentences said in its name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from atom_platform.health.result import Check, CheckFailed, CheckResult

__all__ = ["Registration"]


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
    gate: bool = False
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
        """
        details: dict[str, float | None] = dict.fromkeys(self.measures)
        for key, value in result.details.items():
            details[key] = value if value is not None and math.isfinite(value) else None
        if self.measures_latency:
            details["latency_ms"] = None if seconds is None else round(seconds * 1000, 2)
        return replace(result, details=details)

    def timeout(self) -> CheckResult:
        """Return what to report of a run that was not over at the deadline."""
        return self._unhealthy(f"timeout after {self.timeout_seconds:.1f}s", code="timeout")

    def failure(self, error: BaseException) -> CheckResult:
        """Return what to report of a run that raised: the text of a `CheckFailed`, or no text."""
        if isinstance(error, CheckFailed) and str(error):
            return CheckResult(healthy=False, message=str(error), code=error.code)
        return self._unhealthy("check failed", code="check_failed")

    def unknown(self, *, pending: bool) -> CheckResult:
        """Return what to report when nobody knows: no run has ended, or the last is too old."""
        word = "pending" if pending else "stale"
        return self._unhealthy(f"check {word}", code=word)

    def _unhealthy(self, text: str, *, code: str) -> CheckResult:
        return CheckResult(healthy=False, message=f"{self.name.capitalize()} {text}", code=code)
