"""
The bodies of the probes, without a web framework.

Flask's routes and the worker's accept loop both answer with these, so they cannot differ.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from atom_platform.health.registry import HealthRegistry
from atom_platform.health.report import CheckReport, ReadinessReport
from atom_platform.timestamps import rfc3339, rfc3339_now

__all__ = ["Answer", "HealthAnswers", "live_body"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status and its JSON body."""

    status: int
    body: bytes


def live_body() -> bytes:
    """Return the answer of the liveness probe: touches nothing but the clock."""
    return b'{"status":"alive","timestamp":"%s"}' % rfc3339_now().encode()


class HealthAnswers:
    """
    Answers the three probes.

    Args:
        registry: Knows about the dependencies.
        is_draining: Whether the service is on its way out: not ready, whatever the checks say.
        startup: Whether this worker has loaded.
    """

    def __init__(
        self,
        registry: HealthRegistry,
        *,
        is_draining: Callable[[], bool],
        startup: Callable[[], bool],
    ) -> None:
        self._registry = registry
        self._is_draining = is_draining
        self._startup = startup
        self._encoded: tuple[ReadinessReport | None, bytes] = (None, b"")

    def live(self) -> Answer:
        """Answer that the process can answer."""
        return Answer(200, live_body())

    def ready(self, *, exclude: Collection[str] = (), verbose: bool = False) -> Answer:
        """Answer whether this worker should get traffic."""
        draining = self._is_draining()
        report = self._registry.report(exclude, wait=not draining)
        if verbose:
            tail = _json({each.name: _verbose(each) for each in report.checks})
            if report.excluded:
                tail += b',"excluded":%s' % _json(report.excluded)
            if report.unknown:
                tail += b',"unknown":%s' % _json(report.unknown)
            return _readiness(report, draining, tail)
        return _readiness(report, draining, self._checks(report))

    def ready_at_once(self) -> Answer | None:
        """Return the same, or None when that might have to wait: for threads that must not."""
        report = self._registry.report_at_once()
        if report is None:
            return None
        return _readiness(report, self._is_draining(), self._checks(report))

    def readiness_alone(self, *, exclude: Collection[str] = ()) -> Answer:
        """Answer with the status and not the checks: for those whom they do not concern."""
        draining = self._is_draining()
        return _readiness(self._registry.report(exclude, wait=not draining), draining)

    def startup(self) -> Answer:
        """Answer whether this worker has loaded and passed its gates."""
        timestamp = rfc3339_now()
        if not self._startup():
            message = "Worker is loading"
        elif not (result := self._registry.startup()).healthy:
            timestamp, message = rfc3339_now(), result.message
        else:
            return Answer(200, _json({"status": "started", "timestamp": rfc3339_now()}))
        return Answer(
            503, _json({"status": "starting", "timestamp": timestamp, "message": message})
        )

    def _checks(self, report: ReadinessReport) -> bytes:
        known, encoded = self._encoded
        if known is not report:
            encoded = _json({each.name: each.result.as_dict() for each in report.checks})
            self._encoded = (report, encoded)
        return encoded


def _readiness(report: ReadinessReport, draining: bool, checks: bytes | None = None) -> Answer:
    if draining:
        status, word = 503, b"draining"
    elif report.ready:
        status, word = 200, b"ready"
    else:
        status, word = 503, b"not_ready"
    body = b'{"status":"%s","timestamp":"%s"' % (word, rfc3339_now().encode())
    return Answer(status, body + (b"}" if checks is None else b',"checks":%s}' % checks))


def _verbose(report: CheckReport) -> dict[str, Any]:
    outcome = report.outcome
    last_success = outcome.last_success if outcome else None
    return {
        **report.result.as_dict(),
        "critical": report.critical,
        "since": rfc3339(outcome.since) if outcome else None,
        "consecutive_failures": outcome.consecutive_failures if outcome else 0,
        "last_success": None if last_success is None else rfc3339(last_success),
        "age_seconds": round(time.monotonic() - report.confirmed_at, 3) if outcome else None,
    }


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
