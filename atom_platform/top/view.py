"""What one frame shows, worked out from a scrape, what grew since an earlier one, and readiness."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from atom_platform.metrics.samples import SampleSet
from atom_platform.top.quantile import quantile
from atom_platform.top.window import Growth

__all__ = ["Check", "Endpoint", "Figures", "checks_of", "figures_of"]

#: Probes and scrapes are asked by machines; they are listed, and left out of the sums.
MACHINES = "/health/"
QUANTILES = (0.5, 0.95, 0.99)
BAD_EXITS = ("timeout", "killed", "out_of_memory", "crashed")


@dataclass(frozen=True, slots=True)
class Check:
    """One readiness check as the service reports it."""

    name: str
    healthy: bool
    message: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    The requests of one rule.

    Attributes:
        rule: The matched URL rule.
        rate: Requests a second.
        errors: Share of answers with 5xx, from 0 to 1.
        latencies: p50, p95 and p99 in seconds; None without a request.
    """

    rule: str
    rate: float
    errors: float
    latencies: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one frame; rates are a second, shares from 0 to 1."""

    version: str
    seconds: float
    from_start: bool
    uptime_seconds: float
    rate: float
    errors: float
    in_progress: float
    endpoints: tuple[Endpoint, ...]
    active_agents: float
    runs: Mapping[str, float]
    pool: Mapping[str, float]
    workers: float
    bad_exits: float
    threads: float
    threads_busy: float
    backlog: float
    memory_bytes: float
    cpu: float
    open_files: float
    errors_logged: float


def figures_of(now: SampleSet, growth: Growth, *, at: float) -> Figures:
    """Return the figures of a scrape *now*, taken *at* seconds since the Unix epoch."""
    grown, seconds = growth.samples, growth.seconds
    endpoints = tuple(_endpoints(growth))
    users = [each for each in endpoints if not each.rule.startswith(MACHINES)]
    rate = sum(each.rate for each in users)
    return Figures(
        version=next((version for (version,) in now.by(("version",), "app_info")), "?"),
        seconds=seconds,
        from_start=growth.from_start,
        uptime_seconds=max(at - now.total("process_start_time_seconds"), 0.0),
        rate=rate,
        errors=sum(each.rate * each.errors for each in users) / rate if rate else 0.0,
        in_progress=now.total("http_requests_in_progress"),
        endpoints=endpoints,
        active_agents=now.total("active_agents"),
        runs={
            status: count / seconds
            for (status,), count in grown.by(("status",), "agent_executions_total").items()
        },
        pool={
            name: now.total(f"db_connections_{name}")
            for name in ("active", "idle", "max", "waiting")
        },
        workers=now.total("gunicorn_workers"),
        bad_exits=sum(now.total("gunicorn_worker_exits_total", reason=why) for why in BAD_EXITS),
        threads=now.total("gunicorn_threads"),
        threads_busy=now.total("gunicorn_threads_busy"),
        backlog=now.total("gunicorn_backlog"),
        memory_bytes=now.total("process_resident_memory_bytes"),
        cpu=grown.total("process_cpu_seconds_total") / seconds,
        open_files=now.total("process_open_fds"),
        errors_logged=sum(
            grown.total("log_messages_total", level=level) for level in ("ERROR", "CRITICAL")
        ),
    )


def _endpoints(growth: Growth) -> Iterator[Endpoint]:
    """Yield the endpoints that were asked, the busiest first."""
    answers: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for (rule, status), count in growth.samples.by(
        ("endpoint", "status"), "http_requests_total"
    ).items():
        answers[rule][status] = count
    buckets: defaultdict[str, dict[float, float]] = defaultdict(dict)
    for (rule, bound), count in growth.samples.by(
        ("endpoint", "le"), "http_request_duration_seconds_bucket"
    ).items():
        buckets[rule][float(bound)] = count
    for rule, by_status in sorted(answers.items(), key=lambda item: -sum(item[1].values())):
        count = sum(by_status.values())
        if count:
            failed = sum(n for status, n in by_status.items() if status.startswith("5"))
            latencies = tuple(quantile(share, buckets[rule]) for share in QUANTILES)
            yield Endpoint(rule, count / growth.seconds, failed / count, latencies)


def checks_of(ready: Mapping[str, Any]) -> tuple[Check, ...]:
    """Return the checks of a body of readiness; none where it tells none."""
    checks = ready.get("checks")
    if not isinstance(checks, dict):
        return ()
    return tuple(
        Check(str(name), check.get("healthy") is True, str(check.get("message", "")))
        for name, check in checks.items()
        if isinstance(check, dict)
    )
