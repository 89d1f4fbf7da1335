"""Workers and database: utilisation, saturation and errors."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.grafana.frame import add, frame
from deploy.grafana.panels import heat, lines
from deploy.grafana.queries import Query, increase, quantile, rate
from deploy.prometheus.render import thresholds

__all__ = ["workers"]


def workers() -> Dashboard:
    dashboard = frame(
        "atom-workers",
        "ATOM Workers and Database",
        "Processes, threads, memory, the database's pool and the disk.",
    )
    _threads(dashboard)
    _processes(dashboard)
    _database(dashboard)
    _losses(dashboard)
    return dashboard


def _threads(dashboard: Dashboard) -> None:
    limits = thresholds()["workers"]
    dashboard.with_row(Row("Threads: is there one to spare"))
    add(
        dashboard,
        lines(
            "Threads busy",
            "Share of the request threads that answer a request. Agents run in request threads.",
            Query(
                "sum by (instance) (gunicorn_threads_busy{@service})"
                " / (sum by (instance) (gunicorn_threads{@service}) > 0)",
                "{{instance}}",
            ),
            unit="percentunit",
            maximum=1,
            levels=[(limits["threads_busy_ratio"], "orange")],
            alerts=["RequestThreadsSaturated"],
        ),
        lines(
            "Requests in progress",
            "Requests being answered, beside the threads there are for them.",
            Query("sum by (instance) (http_requests_in_progress{@service})", "{{instance}}"),
            Query("sum by (instance) (gunicorn_threads{@service})", "threads of {{instance}}"),
            unit="short",
        ),
        lines(
            "Backlog",
            "Connections that the kernel took and no worker has.",
            Query("sum by (instance) (gunicorn_backlog{@service})", "{{instance}}"),
            unit="short",
            levels=[(limits["backlog"], "orange")],
            alerts=["ListenBacklogGrowing"],
        ),
        lines(
            "Time in the queue (p95)",
            "Between the load balancer's X-Request-Start and the application; nothing if the load"
            " balancer does not send it.",
            Query(quantile(0.95, "http_request_queue_seconds", by="instance"), "{{instance}}"),
            unit="s",
            levels=[(limits["queue_p95_seconds"], "orange")],
            alerts=["RequestQueueTimeHigh"],
            width=12,
        ),
        heat("Time in the queue", "How long requests wait.", "http_request_queue_seconds"),
    )


def _processes(dashboard: Dashboard) -> None:
    dashboard.with_row(Row("Processes"))
    add(
        dashboard,
        lines(
            "Workers",
            "Worker processes alive.",
            Query("sum by (instance) (gunicorn_workers{@service})", "{{instance}}"),
            unit="short",
        ),
        lines(
            "Worker exits",
            "Workers that ended, by reason; only `recycled` and `terminated` are by design.",
            Query(
                increase("gunicorn_worker_exits_total", by="reason"),
                "{{reason}}",
            ),
            unit="short",
            stacked=True,
            alerts=["WorkerCrashLooping"],
        ),
        lines(
            "Starts",
            "How often the whole instance started in half an hour.",
            Query("changes(process_start_time_seconds{@service}[30m])", "{{instance}}"),
            unit="short",
            levels=[(thresholds()["workers"]["restarts"], "red")],
            alerts=["RestartStorm"],
        ),
        lines(
            "CPU",
            "Processor seconds per second, arbiter and workers together.",
            Query(
                rate("process_cpu_seconds_total", by="instance"),
                "{{instance}}",
            ),
            unit="short",
        ),
        lines(
            "Memory",
            "Resident memory, arbiter and workers together.",
            Query("sum by (instance) (process_resident_memory_bytes{@service})", "{{instance}}"),
            unit="bytes",
        ),
        lines(
            "Open files",
            "File descriptors, arbiter and workers together.",
            Query("sum by (instance) (process_open_fds{@service})", "{{instance}}"),
            unit="short",
        ),
        lines(
            "Versions",
            "Instances by version and revision.",
            Query("count by (version, revision) (app_info{@service})", "{{version}} {{revision}}"),
            unit="short",
            stacked=True,
            alerts=["VersionsSkewed"],
        ),
        lines(
            "Disk free",
            "Free space where readiness looks; at the red line the instance is not ready.",
            Query("min by (instance, path) (disk_free_bytes{@service})", "{{instance}} {{path}}"),
            unit="bytes",
            levels=[(thresholds()["disk"]["minimum_free_bytes"], "red")],
            alerts=["DiskFillingUp"],
            width=16,
        ),
    )


def _database(dashboard: Dashboard) -> None:
    limits = thresholds()
    dashboard.with_row(Row("Database"))
    add(
        dashboard,
        lines(
            "Pool in use",
            "Share of the connections that an instance may open.",
            Query(
                "sum by (instance) (db_connections_active{@service})"
                " / (sum by (instance) (db_connections_max{@service}) > 0)",
                "{{instance}}",
            ),
            unit="percentunit",
            maximum=1,
            levels=[(limits["guide"]["database_pool_ratio"], "red")],
            alerts=["DatabaseConnectionPoolExhausted"],
        ),
        lines(
            "Connections",
            "Open connections of the application's pools.",
            Query("sum by (instance) (db_connections_active{@service})", "{{instance}} active"),
            Query("sum by (instance) (db_connections_idle{@service})", "{{instance}} idle"),
            unit="short",
            stacked=True,
        ),
        lines(
            "Threads that wait for a connection",
            "They wait because a worker's pool is exhausted, whatever the sum of all workers says.",
            Query("sum by (instance) (db_connections_waiting{@service})", "{{instance}}"),
            unit="short",
            alerts=["DatabaseConnectionPoolWaiting"],
        ),
        lines(
            "Statements",
            "Statements of the application per second, by operation.",
            Query(
                rate("db_query_duration_seconds_count", by="operation"),
                "{{operation}}",
            ),
            unit="ops",
            stacked=True,
        ),
        lines(
            "Statement latency (p95)",
            "One statement in twenty takes this long or longer.",
            Query(quantile(0.95, "db_query_duration_seconds", by="operation"), "{{operation}}"),
            unit="s",
        ),
        heat("Statement time", "How long statements take.", "db_query_duration_seconds", width=8),
    )


def _losses(dashboard: Dashboard) -> None:
    dashboard.with_row(Row("Logs and metrics: what is lost"))
    add(
        dashboard,
        lines(
            "Log messages",
            "Messages written per second, by level.",
            Query(rate("log_messages_total", by="level"), "{{level}}"),
            unit="ops",
            stacked=True,
        ),
        lines(
            "Log lines lost",
            "Lines that nobody read in time, or that could not be written.",
            Query(
                increase("log_lines_dropped_total", by="instance, reason"),
                "{{instance}} {{reason}}",
            ),
            unit="short",
            alerts=["LogLinesLost"],
        ),
        lines(
            "Metric errors",
            "What metrics could not read, write or compute, and skipped.",
            Query(
                increase("metric_errors_total", by="kind"),
                "{{kind}}",
            ),
            unit="short",
            alerts=["MetricErrors"],
        ),
    )
