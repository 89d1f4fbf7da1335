"""
What the platform's code calls to count something that is not a request, an agent or a query.

HTTP requests are counted by `http_metrics.py`; agents, skills and queries by `track.py`; metrics of
the application by `custom.py`. A new metric of the platform is a row in `catalog.py`, and a family
and a function here. `make tables` then renews the tables of the docs.

No function here raises or waits for more than another thread's addition, and none needs to know
whether there are other processes.
"""

from __future__ import annotations

from typing import Final

from atom_platform.metrics import label_limits
from atom_platform.metrics.catalog import (
    APP_INFO,
    DB_CONNECTIONS_ACTIVE,
    DB_CONNECTIONS_IDLE,
    DB_CONNECTIONS_MAX,
    DB_CONNECTIONS_WAITING,
    DISK_FREE,
    GUNICORN_THREADS,
    GUNICORN_THREADS_BUSY,
    GUNICORN_WORKER_EXITS,
    GUNICORN_WORKERS,
    HEALTH_CHECK_DURATION,
    HEALTH_CHECK_HEALTHY,
    LOG_LINES_DROPPED,
    LOG_MESSAGES,
    METRIC_ERRORS,
)
from atom_platform.metrics.families import (
    METRIC_ERROR_COUNT,
    CounterFamily,
    GaugeFamily,
    HistogramFamily,
    label_text,
    note_failure,
    report_problems,
)
from atom_platform.metrics.storage.directory import Directory
from atom_platform.metrics.storage.storage import STORAGE
from atom_platform.metrics.storage.value_class import install_value_class

__all__ = [
    "configure",
    "count_log_drop",
    "count_log_message",
    "count_metric_error",
    "count_worker_exit",
    "heartbeat",
    "record_check",
    "report_directory",
    "set_app_info",
    "set_db_pool",
    "set_disk_free",
    "set_threads",
    "set_threads_busy",
    "worker_started",
]

# From here on prometheus_client's own metrics of this process are kept in the same files.
install_value_class()

_log_messages: Final = CounterFamily(LOG_MESSAGES)
_log_drops: Final = CounterFamily(LOG_LINES_DROPPED)
_worker_exits: Final = CounterFamily(GUNICORN_WORKER_EXITS)
_workers: Final = GaugeFamily(GUNICORN_WORKERS)
_threads: Final = GaugeFamily(GUNICORN_THREADS)
_threads_busy: Final = GaugeFamily(GUNICORN_THREADS_BUSY)
_pool_active: Final = GaugeFamily(DB_CONNECTIONS_ACTIVE)
_pool_idle: Final = GaugeFamily(DB_CONNECTIONS_IDLE)
_pool_max: Final = GaugeFamily(DB_CONNECTIONS_MAX)
_pool_waiting: Final = GaugeFamily(DB_CONNECTIONS_WAITING)
_check_healthy: Final = GaugeFamily(HEALTH_CHECK_HEALTHY)
_check_durations: Final = HistogramFamily(HEALTH_CHECK_DURATION)
_disk_free: Final = GaugeFamily(DISK_FREE)
_app_info: Final = GaugeFamily(APP_INFO)


def configure(*, max_ids: int) -> None:
    """Set how many distinct ids a label may have in this process; all others count as `other`."""
    label_limits.set_max_values(max_ids)


def heartbeat() -> None:
    """
    Check whether the metrics directory was deleted or has room again, and log problems.

    Call it about once a second in each process that counts; it takes microseconds. Never raises:
    the accept loop calls it.
    """
    try:
        STORAGE.heartbeat()
        report_problems()
    except Exception as error:
        note_failure(METRIC_ERRORS, error)


def report_directory(directory: Directory) -> None:
    """
    Log and count why the metrics directory is not the one configured, if it is not.

    Call it in the arbiter once logging works and before any worker starts: it claims the arbiter's
    slot. A slot claimed later could be a dead worker's, with that worker's values in it.
    """
    STORAGE.claim_slot()
    problem = directory.problem
    if problem is not None:
        kind = "directory" if problem.fault else None
        STORAGE.problems.note(kind, problem.event, problem.path, problem.error)
        report_problems()


def count_metric_error(kind: str) -> None:
    """Count a failure of the metrics; a *kind* that is not in the catalog counts as `record`."""
    METRIC_ERROR_COUNT.add((_known_or(METRIC_ERRORS.values["kind"], kind, "record"),))


def count_log_message(level: str, n: int = 1) -> None:
    """Count *n* log lines of *level* (upper case) that were written."""
    _log_messages.add((_known_or(LOG_MESSAGES.values["level"], level, "INFO"),), n)


def count_log_drop(reason: str, n: int = 1) -> None:
    """Count *n* log lines that were lost, for the reason `queue_full` or `write_error`."""
    _log_drops.add((_known_or(LOG_LINES_DROPPED.values["reason"], reason, "write_error"),), n)


def count_worker_exit(reason: str) -> None:
    """Count a worker that ended. Called in the arbiter, so it is the arbiter's heartbeat too."""
    heartbeat()
    _worker_exits.add((_known_or(GUNICORN_WORKER_EXITS.values["reason"], reason, "unknown"),))


def worker_started() -> None:
    """Count this process in `gunicorn_workers` for as long as it lives."""
    _workers.set(1.0)


def set_threads(total: int) -> None:
    """Set how many request threads this worker has."""
    _threads.set(total)


def set_threads_busy(n: int) -> None:
    """Set how many request threads of this worker are answering a request."""
    _threads_busy.set(n)


def set_db_pool(*, active: int, idle: int, maximum: int, waiting: int) -> None:
    """Set the connections of all pools of this process: in use, idle, allowed, and waited for."""
    with STORAGE.lock:  # a scrape of this process sees all four change at once
        _pool_active.set(active)
        _pool_idle.set(idle)
        _pool_max.set(maximum)
        _pool_waiting.set(waiting)


def record_check(name: str, healthy: bool, duration_seconds: float) -> None:
    """Record the last result and the duration of a readiness check."""
    label = label_text(name)
    _check_healthy.set(1.0 if healthy else 0.0, (label,))
    _check_durations.observe(duration_seconds, (label,))


def set_disk_free(path: str, free_bytes: float) -> None:
    """Set the free bytes of the file system of *path*."""
    _disk_free.set(free_bytes, (label_text(path),))


def set_app_info(version: str, python: str, revision: str) -> None:
    """Set the labels of `app_info`, whose value is always 1."""
    _app_info.set(1.0, (label_text(version), label_text(python), label_text(revision)))


def _known_or(values: tuple[str, ...], value: str, default: str) -> str:
    return value if value in values else default
