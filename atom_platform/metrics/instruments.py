"""
What the platform's code calls to count something.

Nothing here ever raises into the caller, blocks on anything but other threads' additions, or needs
to know whether there are other processes.
"""

from __future__ import annotations

from typing import Final

from atom_platform.metrics import caps
from atom_platform.metrics.cells import clean
from atom_platform.metrics.definitions import (
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
from atom_platform.metrics.process_metrics import watch_listeners
from atom_platform.metrics.recording import (
    ERRORS,
    Family,
    HistogramFamily,
    count_problems,
    not_recorded,
)
from atom_platform.metrics.requests import (
    count_aborted,
    count_exception,
    observe_queue,
    record_request,
    requests_in_progress,
)
from atom_platform.metrics.storage.directory import Directory
from atom_platform.metrics.storage.storage import STORAGE
from atom_platform.metrics.storage.value_class import install_value_class
from atom_platform.metrics.track import observe_query, track_agent, track_query, track_skill

__all__ = [
    "configure",
    "count_aborted",
    "count_exception",
    "count_log_drop",
    "count_log_message",
    "count_worker_exit",
    "heartbeat",
    "metric_error",
    "observe_query",
    "observe_queue",
    "record_check",
    "record_request",
    "report_directory",
    "requests_in_progress",
    "set_app_info",
    "set_db_pool",
    "set_disk_free",
    "set_threads",
    "set_threads_busy",
    "track_agent",
    "track_query",
    "track_skill",
    "watch_listeners",
    "worker_started",
]

# Whoever counts through this module wants every metric of the process in the same place.
install_value_class()

_messages: Final = Family(LOG_MESSAGES)
_drops: Final = Family(LOG_LINES_DROPPED)
_exits: Final = Family(GUNICORN_WORKER_EXITS)
_workers: Final = Family(GUNICORN_WORKERS)
_threads: Final = Family(GUNICORN_THREADS)
_threads_busy: Final = Family(GUNICORN_THREADS_BUSY)
_pool_active: Final = Family(DB_CONNECTIONS_ACTIVE)
_pool_idle: Final = Family(DB_CONNECTIONS_IDLE)
_pool_max: Final = Family(DB_CONNECTIONS_MAX)
_pool_waiting: Final = Family(DB_CONNECTIONS_WAITING)
_healthy: Final = Family(HEALTH_CHECK_HEALTHY)
_check_durations: Final = HistogramFamily(HEALTH_CHECK_DURATION)
_disk_free: Final = Family(DISK_FREE)
_app_info: Final = Family(APP_INFO)


def configure(*, max_ids: int) -> None:
    """Set how many distinct ids a family may hold in this process; the rest counts as `other`."""
    caps.configure(max_ids)


def heartbeat() -> None:
    """
    Notice a metrics directory that was deleted or has room again, and log what went wrong.

    Costs microseconds; call it every second or so in each process that counts. Never raises: the
    accept loop calls it, and would end with it.
    """
    try:
        STORAGE.heartbeat()
        count_problems()
    except Exception as error:
        not_recorded(METRIC_ERRORS, error)


def report_directory(directory: Directory) -> None:
    """
    Log and count, once the log exists, why the directory is not the one asked for.

    The arbiter takes its slot with it, before any worker: later it would go on with a file that a
    dead worker left, and it is the last to notice that the directory was deleted.
    """
    STORAGE.claim_slot()
    problem = directory.problem
    if problem is not None:
        kind = "directory" if problem.fault else None
        STORAGE.problems.note(kind, problem.event, problem.path, problem.error)
        count_problems()


def metric_error(kind: str) -> None:
    """Count something that metrics could not do: one of the kinds in the metric table."""
    ERRORS.add((_known(METRIC_ERRORS.values["kind"], kind, "record"),))


def count_log_message(level: str, n: int = 1) -> None:
    """Count *n* log lines of *level* that were written."""
    _messages.add((_known(LOG_MESSAGES.values["level"], level, "INFO"),), n)


def count_log_drop(reason: str, n: int = 1) -> None:
    """Count *n* log lines that were lost."""
    _drops.add((_known(LOG_LINES_DROPPED.values["reason"], reason, "write_error"),), n)


def count_worker_exit(reason: str) -> None:
    """Count a worker that ended; called in the arbiter, whose only regular occasion it is."""
    heartbeat()
    _exits.add((_known(GUNICORN_WORKER_EXITS.values["reason"], reason, "crashed"),))


def worker_started() -> None:
    """Count this process among the workers until it is gone."""
    _workers.set(1.0)


def set_threads(total: int) -> None:
    """Say how many request threads this worker has."""
    _threads.set(total)


def set_threads_busy(n: int) -> None:
    """Say how many of them are answering a request."""
    _threads_busy.set(n)


def set_db_pool(*, active: int, idle: int, maximum: int, waiting: int) -> None:
    """Say what this process's connection pools hold, all of them together."""
    with STORAGE.lock:  # one scrape, one state
        _pool_active.set(active)
        _pool_idle.set(idle)
        _pool_max.set(maximum)
        _pool_waiting.set(waiting)


def record_check(name: str, healthy: bool, duration_seconds: float) -> None:
    """Record a run of a readiness check."""
    label = clean(name)
    _healthy.set(1.0 if healthy else 0.0, (label,))
    _check_durations.observe(duration_seconds, (label,))


def set_disk_free(path: str, free_bytes: float) -> None:
    """Say how much room there is on the file system of *path*."""
    _disk_free.set(free_bytes, (clean(path),))


def set_app_info(version: str, python: str, revision: str) -> None:
    """Say what this process runs."""
    _app_info.set(1.0, (clean(version), clean(python), clean(revision)))


def _known(values: tuple[str, ...], value: str, otherwise: str) -> str:
    return value if value in values else otherwise
