"""
The responses to the three probes, without a web framework.

Flask's routes and the worker's accept loop both send these, so they cannot differ. The status 503
of readiness is decided here, in `_readiness`, from `ReadinessReport.ready` and the drain flag.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from atom_platform.health.check import CheckReport
from atom_platform.health.registry import HealthRegistry, ReadinessReport
from atom_platform.timestamps import rfc3339, rfc3339_now

__all__ = ["HealthResponder", "HealthResponse", "live_body"]


@dataclass(frozen=True, slots=True)
class HealthResponse:
    """An HTTP status and its JSON body."""

    status: int
    body: bytes


def live_body() -> bytes:
    """Return the body of the liveness response; reads nothing but the clock."""
    return b'{"status":"alive","timestamp":"%s"}' % rfc3339_now().encode()


class HealthResponder:
    """
    Makes the responses to the three probes.

    Args:
        registry: Reports on the checks.
        is_draining: Whether the service is about to stop: not ready, whatever the checks say.
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

    def live(self) -> HealthResponse:
        """Return 200: the process answers."""
        return HealthResponse(200, live_body())

    def ready(self, *, exclude: Collection[str] = (), verbose: bool = False) -> HealthResponse:
        """
        Return 200 when this worker should get traffic, otherwise 503.

        Args:
            exclude: Names of checks to leave out.
            verbose: Whether to show each check's code and history.
        """
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

    def ready_nowait(self) -> HealthResponse | None:
        """Return what `ready` would, or None when that might block: for the accept loop."""
        report = self._registry.report_nowait()
        if report is None:
            return None
        return _readiness(report, self._is_draining(), self._checks(report))

    def ready_without_checks(self, *, exclude: Collection[str] = ()) -> HealthResponse:
        """Return readiness without the checks: for clients that may not see them."""
        draining = self._is_draining()
        return _readiness(self._registry.report(exclude, wait=not draining), draining)

    def startup(self) -> HealthResponse:
        """Return 200 once this worker has loaded and passed its startup checks, otherwise 503."""
        timestamp = rfc3339_now()
        if not self._startup():
            message = "Worker is loading"
        elif not (result := self._registry.startup()).healthy:
            timestamp, message = rfc3339_now(), result.message
        else:
            return HealthResponse(200, _json({"status": "started", "timestamp": rfc3339_now()}))
        return HealthResponse(
            503, _json({"status": "starting", "timestamp": timestamp, "message": message})
        )

    def _checks(self, report: ReadinessReport) -> bytes:
        """Return the JSON object of the checks, encoded once per report."""
        known, encoded = self._encoded
        if known is not report:
            encoded = _json({each.name: each.result.as_dict() for each in report.checks})
            self._encoded = (report, encoded)
        return encoded


def _readiness(
    report: ReadinessReport, draining: bool, checks: bytes | None = None
) -> HealthResponse:
    """Turn *report* and the drain flag into a status, 200 or 503, and its body."""
    if draining:
        status, word = 503, b"draining"
    elif report.ready:
        status, word = 200, b"ready"
    else:
        status, word = 503, b"not_ready"
    body = b'{"status":"%s","timestamp":"%s"' % (word, rfc3339_now().encode())
    return HealthResponse(status, body + (b"}" if checks is None else b',"checks":%s}' % checks))


def _verbose(report: CheckReport) -> dict[str, Any]:
    """Return the JSON object of a check with its code and its history."""
    status = report.status
    last_success = status.last_success if status else None
    return {
        **report.result.as_dict(),
        "code": report.result.code,
        "critical": report.critical,
        "since": rfc3339(status.since) if status else None,
        "consecutive_failures": status.consecutive_failures if status else 0,
        "last_success": None if last_success is None else rfc3339(last_success),
        "age_seconds": round(time.monotonic() - report.confirmed_at, 3) if status else None,
    }


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
