"""What a scrape tells about the service it comes from."""

from __future__ import annotations

from collections.abc import Iterator

from atom_platform.doctor.finding import Finding, note, ok, trouble, warning
from atom_platform.metrics.catalog import DEFINITIONS
from atom_platform.metrics.samples import ParsedExposition

__all__ = ["check_scrape"]

AREA = "service"

#: Where a scrape begins to cost more than it tells.
MANY_SAMPLES = 50_000

POOL_SHARE = 0.9

#: Ends of workers that nobody asked for.
BAD_EXITS = ("timeout", "killed", "out_of_memory", "crashed")

#: Counters that should stay at zero: what it means, what to do.
SHOULD_BE_ZERO = {
    "metric_errors_total": (
        "Metrics could not be written or read",
        "Some counts are missing.",
        "Look at the space in the metrics directory and for `metrics_` events in the log.",
    ),
    "metric_label_overflows_total": (
        "Identifiers beyond the cap were counted as `other`",
        "They cannot be told apart in dashboards.",
        "Raise ATOM_METRICS_MAX_IDS, or find out who makes so many identifiers.",
    ),
    "log_lines_dropped_total": (
        "Lines of the log were dropped",
        "What they said is lost.",
        "Find out why the reader of the log is slow, or lower ATOM_LOG_LEVEL.",
    ),
}


def check_scrape(before: bytes, after: bytes) -> Iterator[Finding]:
    """Yield what two scrapes tell, between which /health/live was asked."""
    if not after.strip():
        yield trouble(
            AREA,
            "metrics-empty",
            "/health/metrics is empty",
            why="Prometheus calls the target up, and every alert is silent.",
            do="Start the service with gunicorn.conf.py, which prepares the metrics directory "
            "before prometheus_client is imported.",
        )
        return
    try:
        first, scrape = ParsedExposition(before.decode()), ParsedExposition(after.decode())
    except ValueError as error:
        yield trouble(
            AREA,
            "metrics-unreadable",
            f"/health/metrics is no Prometheus text: {type(error).__name__}",
            why="Prometheus takes nothing of it.",
            do="Check that the URL is that of the service, and no proxy's.",
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
            f"{exits:,.0f} workers ended without being asked to",
            why="Requests that they were serving failed.",
            do="Read `gunicorn_worker_exits_total` by reason, and the log around each.",
        )


def _families(scrape: ParsedExposition) -> Finding:
    number = len(scrape.values)
    if missing := sorted(_guide_families() - scrape.families):
        return trouble(
            AREA,
            "metrics-incomplete",
            f"/health/metrics lacks {', '.join(missing)}",
            why="Dashboards and alerts that read them stay empty and silent.",
            do="Check that the URL is that of this service in this version.",
        )
    if number > MANY_SAMPLES:
        largest = ", ".join(f"{name} {size:,}" for name, size in scrape.per_family.most_common(3))
        return warning(
            AREA,
            "metrics-many",
            f"/health/metrics has {number:,} samples; most in {largest}",
            why="Every one is sent and stored at each scrape.",
            do="Lower ATOM_METRICS_MAX_IDS, or drop the label whose values are many.",
        )
    return ok(AREA, "metrics-complete", f"/health/metrics has {number:,} samples")


def _guide_families() -> set[str]:
    """Return the families that are there from the first scrape on, whatever has happened."""
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
    return trouble(
        AREA,
        "requests-not-counted",
        "A request to /health/live was not counted",
        why="Dashboards and alerts show a service that does nothing.",
        do="Check that all workers share one metrics directory (PROMETHEUS_MULTIPROC_DIR), and "
        "that one service was asked, not a load balancer before several.",
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
            why="Requests queue for a connection, and fail when they wait too long.",
            do="Look for slow queries (`db_query_duration_seconds`), then raise ATOM_DB_POOL_SIZE.",
        )
    busy, threads = scrape.total("gunicorn_threads_busy"), scrape.total("gunicorn_threads")
    if threads and busy >= threads:
        yield note(
            AREA,
            "threads-busy",
            f"All {threads:.0f} request threads are busy",
            why="Further requests wait.",
            do="If it lasts, raise ATOM_THREADS or WEB_CONCURRENCY.",
        )
