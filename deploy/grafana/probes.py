"""Probes: the requests of orchestrator and Prometheus, and their responses."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.grafana.frame import add, frame
from deploy.grafana.panels import Level, heat, lines, timeline
from deploy.grafana.queries import Query, quantile, rate
from deploy.prometheus.render import thresholds

__all__ = ["probes"]

LATENCY = "http_request_duration_seconds"


def probes() -> Dashboard:
    dashboard = frame(
        "atom-probes",
        "ATOM Probes",
        "Liveness, readiness and scrapes. The dashed lines are the monitoring guide's thresholds.",
    )
    _states(dashboard)
    _latencies(dashboard)
    return dashboard


def _states(dashboard: Dashboard) -> None:
    dashboard.with_row(Row("States"))
    add(
        dashboard,
        timeline(
            "Readiness checks",
            "What the last run of each check found.",
            Query(
                "min by (instance, check) (health_check_healthy{@service})",
                "{{instance}} {{check}}",
            ),
            names=[(0, "unhealthy", "red"), (1, "healthy", "green")],
            alerts=["ReadinessProbeFailing", "ReadinessFlapping"],
        ),
        timeline(
            "Scrapes",
            "Whether Prometheus reaches the instance. This is not readiness.",
            Query("min by (instance) (up{@service})", "{{instance}}"),
            names=[(0, "down", "red"), (1, "up", "green")],
            alerts=["TargetDown", "AllTargetsDown", "TargetMissing"],
        ),
        lines(
            "Changes of mind",
            "How often a check changed between healthy and not in a quarter of an hour.",
            Query(
                "sum by (instance) (changes(health_check_healthy{@service}[15m]))", "{{instance}}"
            ),
            unit="short",
            levels=[(thresholds()["monitoring"]["readiness_changes"], "orange")],
            alerts=["ReadinessFlapping"],
        ),
        lines(
            "Probes",
            "How often each probe is asked, per second.",
            Query(
                rate(
                    "http_requests_total", by="endpoint", where='@service, endpoint=~"/health/.*"'
                ),
                "{{endpoint}}",
            ),
            unit="reqps",
        ),
        lines(
            "Probes answered with an error",
            "Per second, by endpoint and status.",
            Query(
                rate(
                    "http_requests_total",
                    by="endpoint, status",
                    where='@service, endpoint=~"/health/.*", status=~"5.."',
                ),
                "{{endpoint}} {{status}}",
            ),
            unit="reqps",
        ),
    )


def _latencies(dashboard: Dashboard) -> None:
    limits = thresholds()["probes"]

    def levels(probe: str) -> list[Level]:
        return [(limits[probe]["warning"], "orange"), (limits[probe]["critical"], "red")]

    dashboard.with_row(Row("Latencies"))
    for title, endpoint, probe, alert in (
        ("Liveness (p95)", "/health/live", "liveness", "LivenessProbeLatencyHigh"),
        ("Readiness (p95)", "/health/ready", "readiness", "ReadinessProbeLatencyHigh"),
        ("Metrics scrape (p95)", "/health/metrics", "scrape", "MetricsScrapeLatencyHigh"),
    ):
        where = f'@service, endpoint="{endpoint}"'
        dashboard.with_panel(
            lines(
                title,
                f"One answer of {endpoint} in twenty takes this long or longer.",
                Query(quantile(0.95, LATENCY, by="instance", where=where), "{{instance}}"),
                unit="s",
                levels=levels(probe),
                alerts=[alert],
            )
        )
    add(
        dashboard,
        lines(
            "Database check (p95)",
            "One run of the readiness check of the database in twenty takes this long or longer.",
            Query(
                quantile(
                    0.95,
                    "health_check_duration_seconds",
                    by="instance",
                    where='@service, check="database"',
                ),
                "{{instance}}",
            ),
            unit="s",
            levels=levels("readiness_database"),
            alerts=["ReadinessDatabaseLatencyHigh"],
        ),
        lines(
            "Scrape as Prometheus sees it",
            "The network included.",
            Query("max by (instance) (scrape_duration_seconds{@service})", "{{instance}}"),
            unit="s",
            levels=[(thresholds()["monitoring"]["scrape_seconds"], "orange")],
            alerts=["ScrapeSlow"],
        ),
        lines(
            "Collecting the metrics (p95)",
            "What a scrape spends on reading and writing out the metrics.",
            Query(
                quantile(0.95, "metrics_collect_duration_seconds", by="instance"), "{{instance}}"
            ),
            unit="s",
            alerts=["MetricsScrapeLatencyHigh"],
        ),
        heat(
            "Liveness",
            "How long liveness takes.",
            LATENCY,
            where='@service, endpoint="/health/live"',
        ),
        heat(
            "Readiness",
            "How long readiness takes.",
            LATENCY,
            where='@service, endpoint="/health/ready"',
        ),
        heat(
            "Scrapes",
            "How long scrapes take.",
            LATENCY,
            where='@service, endpoint="/health/metrics"',
        ),
        heat(
            "Checks",
            "How long the readiness checks take, all of them.",
            "health_check_duration_seconds",
        ),
    )
