"""
The catalog: every metric of the service, in one table.

Names, types, labels and buckets are those of the monitoring guide. A new metric is a row here and a
function in the module that counts it (`instruments.py` says which). `make tables` copies the table
into `docs/metrics.md`; tests check docs, dashboards and alert rules against it.

This module does not import prometheus_client, so that all of these can read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

__all__ = [
    "ACTIVE_AGENTS",
    "AGENT_EXECUTIONS",
    "AGENT_EXECUTION_DURATION",
    "APP_INFO",
    "DB_CONNECTIONS_ACTIVE",
    "DB_CONNECTIONS_IDLE",
    "DB_CONNECTIONS_MAX",
    "DB_CONNECTIONS_WAITING",
    "DB_QUERY_DURATION",
    "DEFINITIONS",
    "DISK_FREE",
    "GUNICORN_BACKLOG",
    "GUNICORN_THREADS",
    "GUNICORN_THREADS_BUSY",
    "GUNICORN_WORKERS",
    "GUNICORN_WORKER_EXITS",
    "HEALTH_CHECK_DURATION",
    "HEALTH_CHECK_HEALTHY",
    "HTTP_EXCEPTIONS",
    "HTTP_METHODS",
    "HTTP_REQUESTS",
    "HTTP_REQUESTS_IN_PROGRESS",
    "HTTP_REQUEST_DURATION",
    "HTTP_REQUEST_QUEUE",
    "HTTP_RESPONSES_ABORTED",
    "LOG_LINES_DROPPED",
    "LOG_MESSAGES",
    "METRICS_COLLECT_DURATION",
    "METRIC_ERRORS",
    "METRIC_LABEL_OVERFLOWS",
    "OUTCOMES",
    "PROCESS_CPU",
    "PROCESS_MAX_FDS",
    "PROCESS_OPEN_FDS",
    "PROCESS_RESIDENT_MEMORY",
    "PROCESS_START_TIME",
    "PROCESS_VIRTUAL_MEMORY",
    "SKILL_EXECUTIONS",
    "SKILL_EXECUTION_DURATION",
    "Definition",
    "family_name",
    "file_kind",
]

Kind = Literal["counter", "gauge", "histogram"]
GaugeMode = Literal["livesum", "livemin", "livemax", "livemostrecent"]

#: The methods of RFC 9110 §9.3 and RFC 5789; any other counts as `OTHER`.
HTTP_METHODS: Final = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "CONNECT",
    "OPTIONS",
    "TRACE",
    "PATCH",
)
OUTCOMES: Final = ("success", "failure", "error")
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True)
class Definition:
    """
    One metric family.

    Attributes:
        name: The name in the exposition; a counter's ends in `_total`.
        kind: The Prometheus type.
        help: The text of the `# HELP` line.
        labels: The label names, in order.
        buckets: The upper bounds of a histogram in seconds, without `+Inf`.
        mode: How the values of several processes are combined; required for a stored gauge.
        values: The known values by label. A metric that has values for all its labels starts at 0.
        ids: Labels whose values are ids: any text, but a limited number of different ones.
        computed: Whether the scrape reads the value from the system, and no process stores it.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    mode: GaugeMode | None = None
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ids: tuple[str, ...] = ()
    computed: bool = False


HTTP_REQUESTS: Final = Definition(
    "http_requests_total",
    "counter",
    "HTTP requests answered, by method, matched URL rule and status code.",
    labels=("method", "endpoint", "status"),
)
HTTP_REQUEST_DURATION: Final = Definition(
    "http_request_duration_seconds",
    "histogram",
    "Time from the call of the application to the end of the response body.",
    labels=("method", "endpoint"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
HTTP_REQUESTS_IN_PROGRESS: Final = Definition(
    "http_requests_in_progress",
    "gauge",
    "HTTP requests being answered now.",
    mode="livesum",
)
HTTP_REQUEST_QUEUE: Final = Definition(
    "http_request_queue_seconds",
    "histogram",
    "Time between the load balancer's X-Request-Start and the call of the application.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
HTTP_EXCEPTIONS: Final = Definition(
    "http_exceptions_total",
    "counter",
    "Exceptions that no handler of the application turned into a response.",
    labels=("endpoint", "exception"),
    ids=("exception",),
)
HTTP_RESPONSES_ABORTED: Final = Definition(
    "http_responses_aborted_total",
    "counter",
    "Responses that ended early: the client disconnected, or the body raised.",
    labels=("reason",),
    values={"reason": ("disconnect", "error")},
)
AGENT_EXECUTIONS: Final = Definition(
    "agent_executions_total",
    "counter",
    "Agent executions finished, by status.",
    labels=("agent_id", "status"),
    values={"status": OUTCOMES},
    ids=("agent_id",),
)
AGENT_EXECUTION_DURATION: Final = Definition(
    "agent_execution_duration_seconds",
    "histogram",
    "Duration of agent executions.",
    labels=("agent_id",),
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
    ids=("agent_id",),
)
ACTIVE_AGENTS: Final = Definition("active_agents", "gauge", "Agents running now.", mode="livesum")
SKILL_EXECUTIONS: Final = Definition(
    "skill_executions_total",
    "counter",
    "Skill executions finished, by status.",
    labels=("skill_id", "status"),
    values={"status": OUTCOMES},
    ids=("skill_id",),
)
SKILL_EXECUTION_DURATION: Final = Definition(
    "skill_execution_duration_seconds",
    "histogram",
    "Duration of skill executions.",
    labels=("skill_id",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    ids=("skill_id",),
)
DB_QUERY_DURATION: Final = Definition(
    "db_query_duration_seconds",
    "histogram",
    "Time until the database answered a statement of the application.",
    labels=("operation",),
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    values={"operation": ("select", "insert", "update", "delete", "other")},
)
DB_CONNECTIONS_ACTIVE: Final = Definition(
    "db_connections_active",
    "gauge",
    "Connections of the application's pools that are in use.",
    mode="livesum",
)
DB_CONNECTIONS_IDLE: Final = Definition(
    "db_connections_idle",
    "gauge",
    "Connections of the application's pools that are open and idle.",
    mode="livesum",
)
DB_CONNECTIONS_MAX: Final = Definition(
    "db_connections_max",
    "gauge",
    "Connections that the application's pools may open.",
    mode="livesum",
)
DB_CONNECTIONS_WAITING: Final = Definition(
    "db_connections_waiting",
    "gauge",
    "Threads waiting for a connection of an exhausted pool.",
    mode="livesum",
)
LOG_MESSAGES: Final = Definition(
    "log_messages_total",
    "counter",
    "Log messages written, by level.",
    labels=("level",),
    values={"level": LEVELS},
)
LOG_LINES_DROPPED: Final = Definition(
    "log_lines_dropped_total",
    "counter",
    "Log lines lost: the queue was full, or the output could not be written.",
    labels=("reason",),
    values={"reason": ("queue_full", "write_error")},
)
GUNICORN_WORKERS: Final = Definition(
    "gunicorn_workers", "gauge", "Worker processes alive.", mode="livesum"
)
GUNICORN_WORKER_EXITS: Final = Definition(
    "gunicorn_worker_exits_total",
    "counter",
    "Worker processes that ended, by reason.",
    labels=("reason",),
    values={
        "reason": (
            "recycled",
            "timeout",
            "killed",
            "out_of_memory",
            "crashed",
            "terminated",
            "unknown",
        ),
    },
)
GUNICORN_THREADS: Final = Definition(
    "gunicorn_threads", "gauge", "Request threads that the workers have.", mode="livesum"
)
GUNICORN_THREADS_BUSY: Final = Definition(
    "gunicorn_threads_busy", "gauge", "Request threads answering a request.", mode="livesum"
)
GUNICORN_BACKLOG: Final = Definition(
    "gunicorn_backlog",
    "gauge",
    "Connections in the accept queue of the listening sockets.",
    computed=True,
)
METRICS_COLLECT_DURATION: Final = Definition(
    "metrics_collect_duration_seconds",
    "histogram",
    "Time that a scrape took to read and render the metrics.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
METRIC_ERRORS: Final = Definition(
    "metric_errors_total",
    "counter",
    "Failures to read, write or compute a metric; what failed is left out.",
    labels=("kind",),
    values={"kind": ("directory", "read", "write", "hook", "negotiation", "record")},
)
METRIC_LABEL_OVERFLOWS: Final = Definition(
    "metric_label_overflows_total",
    "counter",
    "Observations counted as `other` because their label has the most values allowed.",
    labels=("metric",),
    values={
        "metric": (
            "agent_executions_total",
            "agent_execution_duration_seconds",
            "skill_executions_total",
            "skill_execution_duration_seconds",
            "http_exceptions_total",
        )
    },
)
HEALTH_CHECK_HEALTHY: Final = Definition(
    "health_check_healthy",
    "gauge",
    "Whether the last run of a readiness check found it healthy (1) or not (0).",
    labels=("check",),
    mode="livemin",
)
HEALTH_CHECK_DURATION: Final = Definition(
    "health_check_duration_seconds",
    "histogram",
    "Duration of the runs of a readiness check.",
    labels=("check",),
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
DISK_FREE: Final = Definition(
    "disk_free_bytes",
    "gauge",
    "Free space on the file system that the disk check reads, at its last run.",
    labels=("path",),
    mode="livemin",
)
APP_INFO: Final = Definition(
    "app_info",
    "gauge",
    "Always 1; the labels say what is running.",
    labels=("version", "python", "revision"),
    mode="livemax",
)
PROCESS_CPU: Final = Definition(
    "process_cpu_seconds_total",
    "counter",
    "User and system CPU time of the arbiter and all workers together.",
    computed=True,
)
PROCESS_RESIDENT_MEMORY: Final = Definition(
    "process_resident_memory_bytes",
    "gauge",
    "Resident memory of the arbiter and all workers together.",
    computed=True,
)
PROCESS_VIRTUAL_MEMORY: Final = Definition(
    "process_virtual_memory_bytes",
    "gauge",
    "Virtual memory of the arbiter and all workers together.",
    computed=True,
)
PROCESS_MAX_FDS: Final = Definition(
    "process_max_fds",
    "gauge",
    "Limit of open file descriptors of the arbiter and all workers together.",
    computed=True,
)
PROCESS_OPEN_FDS: Final = Definition(
    "process_open_fds",
    "gauge",
    "Open file descriptors of the arbiter and all workers together.",
    computed=True,
)
PROCESS_START_TIME: Final = Definition(
    "process_start_time_seconds",
    "gauge",
    "When the service started, in seconds since the Unix epoch.",
    computed=True,
)

DEFINITIONS: Final[tuple[Definition, ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Definition)
)


def family_name(definition: Definition) -> str:
    """Return prometheus_client's name of the family: a counter's without its `_total`."""
    name = definition.name
    return name.removesuffix("_total") if definition.kind == "counter" else name


def file_kind(definition: Definition) -> str:
    """Return the kind of value file that holds *definition*: `counter`, `gauge_livesum` …"""
    return f"gauge_{definition.mode}" if definition.kind == "gauge" else definition.kind
