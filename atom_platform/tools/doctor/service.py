"""Examines a running service: its probes, its scrape and their latency."""

from __future__ import annotations

import http.client
import statistics
from collections.abc import Callable, Iterator
from typing import Any

from atom_platform.tools.doctor.advice import advice_for
from atom_platform.tools.doctor.findings import Finding, error, note, ok, warning
from atom_platform.tools.doctor.scrape import check_scrape
from atom_platform.tools.service_client import Reply, client_for, describe

__all__ = ["check_service"]

AREA = "service"

ATTEMPTS = 5

#: The guide's table: target, acceptable, critical, in milliseconds.
TARGETS_MS = {
    "/health/live": (10, 50, 100),
    "/health/ready": (100, 250, 500),
    "/health/metrics": (50, 100, 200),
}


#: Paths that a management port or a token may guard.
GUARDED = ("/health/metrics", "/health/ready?")


def check_service(
    url: str, *, expected: bool, token: str | None = None, management_url: str | None = None
) -> Iterator[Finding]:
    """
    Yield the findings for the service at *url*.

    Args:
        expected: Whether the operator named it; otherwise its absence is a note.
        token: Sent to guarded paths.
        management_url: The address of the guarded paths, if not *url*.

    Raises:
        ValueError: *url* is not an HTTP URL.
    """
    guarded, plain = client_for(management_url or url, token=token), client_for(url)

    def get(path: str) -> Reply:
        return (guarded if path.startswith(GUARDED) else plain)(path)

    try:
        live = get("/health/live")
    except (OSError, http.client.HTTPException) as problem:
        refused = isinstance(problem, ConnectionRefusedError)
        if refused and not expected:
            yield note(AREA, "service-absent", f"No service runs at {url}")
            return
        yield error(
            AREA,
            "service-unreachable",
            f"{url} does not answer: {describe(problem)}",
            why="Liveness fails, and the orchestrator replaces the container.",
            do="Start the service, or read the last lines of its log.",
        )
        return
    if live.status != 200:
        yield error(
            AREA,
            "live-wrong",
            f"/health/live answers {live.status}",
            why="Liveness fails, and the orchestrator replaces the container.",
            do="Check that the URL is the service's, not a proxy's.",
        )
        return
    for examine in (_startup, _readiness, _scrape, _latencies):
        try:
            yield from examine(get)
        except (OSError, http.client.HTTPException) as problem:
            yield error(
                AREA,
                "service-silent",
                f"{url} has stopped answering: {describe(problem)}",
                why="Probes and Prometheus get no answer either.",
                do="Read the last lines of the service's log.",
            )
            return


def _startup(get: Callable[[str], Reply]) -> Iterator[Finding]:
    reply = get("/health/startup")
    if reply.status == 200:
        yield ok(AREA, "started", "A worker has started")
        return
    message = str(reply.json().get("message", f"status {reply.status}"))
    yield error(
        AREA,
        "not-started",
        f"/health/startup answers {reply.status}: {message}",
        why="The startup probe fails until the service has started.",
        do="Read the checks of readiness below, and the service's log.",
    )


def _readiness(get: Callable[[str], Reply]) -> Iterator[Finding]:
    reply = get("/health/ready?verbose")
    body = reply.json()
    checks = body.get("checks")
    if checks is None and body.get("status") in ("ready", "not_ready", "draining"):
        yield note(
            AREA,
            "checks-guarded",
            f"/health/ready answers {reply.status} without its checks: they are guarded",
        )
        return
    if reply.status not in (200, 503) or not isinstance(checks, dict):
        yield error(
            AREA,
            "ready-wrong",
            f"/health/ready answers {reply.status} without checks",
            why="Readiness fails, and the service gets no traffic.",
            do="Check that the URL is the service's, not a proxy's.",
        )
        return
    if body.get("status") == "draining":
        yield note(AREA, "draining", "The service drains, and then stops")
    elif reply.status == 200:
        yield ok(AREA, "ready", "A worker is ready")
    for name, check in checks.items():
        if isinstance(check, dict) and check.get("healthy") is not True:
            yield _unhealthy(str(name), check)


def _unhealthy(name: str, check: dict[str, Any]) -> Finding:
    message = str(check.get("message", ""))
    critical = check.get("critical") is not False
    make = error if critical else warning
    return make(
        AREA,
        "check-unhealthy",
        f"{name}: {message} (since {check.get('since') or 'the start'}, last success "
        f"{check.get('last_success') or 'never'})",
        why="Readiness answers 503 and the service gets no traffic."
        if critical
        else "It is not critical: the service still gets traffic.",
        do=advice_for(str(check.get("code"))),
    )


def _scrape(get: Callable[[str], Reply]) -> Iterator[Finding]:
    first = get("/health/metrics")
    if first.status in (401, 403):
        yield note(
            AREA, "metrics-guarded", f"/health/metrics answers {first.status}: it is guarded"
        )
        return
    if first.status != 200:
        yield error(
            AREA,
            "metrics-wrong",
            f"/health/metrics answers {first.status}",
            why="Prometheus gets no metrics: only the alert for a missing target can fire.",
            do="Look for lines of the logger `atom_platform.metrics` in the log.",
        )
        return
    get("/health/live")
    yield from check_scrape(first.body, get("/health/metrics").body)


def _latencies(get: Callable[[str], Reply]) -> Iterator[Finding]:
    for path in TARGETS_MS:
        yield from _latency(path, get)


def _latency(path: str, get: Callable[[str], Reply]) -> Iterator[Finding]:
    replies = [get(path) for _ in range(ATTEMPTS)]
    if any(reply.status not in (200, 503) for reply in replies):
        return  # another finding reports the wrong status
    milliseconds = statistics.median(reply.milliseconds for reply in replies)
    target, acceptable, critical = TARGETS_MS[path]
    what = f"{path} answers in {milliseconds:.1f} ms; the target is {target} ms"
    code = f"latency-{path.rsplit('/', 1)[1]}"
    if milliseconds < target:
        yield ok(AREA, code, what)
    elif milliseconds < acceptable:
        yield note(AREA, code, what)
    else:
        make = error if milliseconds > critical else warning
        yield make(
            AREA,
            code,
            what,
            why="Under load, slow answers exceed the probes' timeouts.",
            do="Look at the CPU limit first (`gunicorn_threads_busy`, throttling); for metrics, at "
            "the number of samples.",
        )
