"""Examines two scrapes of a service: completeness, counting, saturation and error counters."""

from __future__ import annotations

from collections.abc import Iterator

from atom_platform.metrics.catalog import DEFINITIONS
from atom_platform.metrics.samples import ParsedExposition
from atom_platform.tools.doctor.findings import Finding, error, note, ok, warning

__all__ = ["check_scrape"]

AREA = "service"

#: From this number on, a warning: each sample is stored at each scrape.
MANY_SAMPLES = 50_000

POOL_SHARE = 0.9

#: Reasons of a worker's exit that are errors.
BAD_EXITS = ("timeout", "killed", "out_of_memory", "crashed")

#: Counters that should stay at zero: meaning, consequence, what to do.
SHOULD_BE_ZERO = {
    "metric_errors_total": (
        "Metrics could not be written or read",
        "Some counts are missing.",
        "Look at the space in the metrics directory and for `metrics_` events in the log.",
    ),
    "metric_label_overflows_total": (
        "Identifiers above the limit were counted as `other`",
        "Dashboards cannot show them separately.",
        "Raise ATOM_METRICS_MAX_IDS, or find the client that makes so many identifiers.",
    ),
    "log_lines_dropped_total": (
        "Lines of the log were dropped",
        "Their content is lost.",
        "Find out why the reader of the log is slow, or lower ATOM_LOG_LEVEL.",
    ),
}


def check_scrape(before: bytes, after: bytes) -> Iterator[Finding]:
    """Yield the findings for two scrapes with a request to /health/live in between."""
    if not after.strip():
        yield error(
            AREA,
            "metrics-empty",
            "/health/metrics is empty",
            why="Prometheus sees the target as up, and no alert can fire.",
            do="Start the service with gunicorn.conf.py, which prepares the metrics directory "
            "before prometheus_client is imported.",
        )
        return
    try:
        first, scrape = ParsedExposition(before.decode()), ParsedExposition(after.decode())
    except ValueError as problem:
        yield error(
            AREA,
            "metrics-unreadable",
            f"/health/metrics is not in Prometheus's format: {type(problem).__name__}",
            why="Prometheus rejects all of it.",
            do="Check that the URL is the service's, not a proxy's.",
        )
        return
    yield _families(scrape)
    yield _counting(first, scrape)
    yield from _saturation(scrape)
    for name, (what, why, do) in SHOULD_BE_ZERO.items():
        if number := scrape.total(name):
            yield warning(AREA, name.replace("_", "-"), f"{what}: {number:,.0f}", why=why, do=do)
    if exits := sum(scrape.total("gunicorn_worker_exits_total", reason=r) for r in BAD_EXITS):
        yield warning(
            AREA,
            "workers-died",
            f"{exits:,.0f} workers timed out, crashed or were killed",
            why="Their requests failed.",
            do="Read `gunicorn_worker_exits_total` by reason, and the log at those times.",
        )


def _families(scrape: ParsedExposition) -> Finding:
    number = len(scrape.values)
    if missing := sorted(_guide_families() - scrape.families):
        return error(
            AREA,
            "metrics-incomplete",
            f"/health/metrics lacks {', '.join(missing)}",
            why="Dashboards and alerts that read them stay empty.",
            do="Check that the URL is this service's, in this version.",
        )
    if number > MANY_SAMPLES:
        largest = ", ".join(f"{name} {size:,}" for name, size in scrape.per_family.most_common(3))
        return warning(
            AREA,
            "metrics-many",
            f"/health/metrics has {number:,} samples; most in {largest}",
            why="Each is sent and stored at each scrape.",
            do="Lower ATOM_METRICS_MAX_IDS, or drop the label with the most values.",
        )
    return ok(AREA, "metrics-complete", f"/health/metrics has {number:,} samples")


def _guide_families() -> set[str]:
    """Return the families that every scrape has from the first on."""
    return {each.name for each in DEFINITIONS if each.name.startswith(GUIDE_PREFIXES)}


GUIDE_PREFIXES = (
    "http_requests_total",
    "http_request_duration_seconds",
    "agent_",
    "active_agents",
    "skill_",
    "db_query_duration_seconds",
    "db_connections_active",
    "db_connections_idle",
)


def _counting(before: ParsedExposition, after: ParsedExposition) -> Finding:
    asked = {"endpoint": "/health/live", "method": "GET", "status": "200"}
    counted = [each.total("http_requests_total", **asked) for each in (before, after)]
    if counted[1] > counted[0]:
        return ok(AREA, "requests-counted", "Requests are counted")
    return error(
        AREA,
        "requests-not-counted",
        "A request to /health/live was not counted",
        why="Dashboards and alerts see no requests.",
        do="Check that all workers share one metrics directory (PROMETHEUS_MULTIPROC_DIR), and "
        "that the URL is one instance's, not a load balancer's.",
    )


def _saturation(scrape: ParsedExposition) -> Iterator[Finding]:
    active = scrape.total("db_connections_active")
    most = scrape.total("db_connections_max") or active + scrape.total("db_connections_idle")
    waiting = scrape.total("db_connections_waiting")
    if waiting or (most and active / most > POOL_SHARE):
        yield warning(
            AREA,
            "pool-exhausted",
            f"{active:.0f} of {most:.0f} database connections are in use, {waiting:.0f} wait",
            why="Requests wait for a connection, and fail when they wait too long.",
            do="Look for slow queries (`db_query_duration_seconds`), then raise ATOM_DB_POOL_SIZE.",
        )
    busy, threads = scrape.total("gunicorn_threads_busy"), scrape.total("gunicorn_threads")
    if threads and busy >= threads:
        yield note(
            AREA,
            "threads-busy",
            f"All {threads:.0f} request threads are busy",
            why="More requests wait for a thread.",
            do="If it lasts, raise ATOM_THREADS or WEB_CONCURRENCY.",
        )
