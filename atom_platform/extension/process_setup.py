"""
What `Monitoring` sets up once for the process: the log pipeline, and warnings about the server.
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
import weakref
from typing import Any, Final

from atom_platform.logs import configure_structlog
from atom_platform.logs.config import reset_logging, set_line_counters
from atom_platform.logs.records import LOG_OUTPUT
from atom_platform.metrics.instruments import count_log_drop, count_log_message
from atom_platform.metrics.storage.storage import STORAGE
from atom_platform.settings import Settings

__all__ = ["LoggingSetup", "warn_about_server"]


class LoggingSetup:
    """
    A reference-counted configuration of the process's log pipeline.

    Each instance configures the pipeline. The last `release` restores the state before the first
    instance, unless our gunicorn logger had configured the pipeline before.
    """

    def __init__(self, settings: Settings) -> None:
        with _lock:
            if LOG_OUTPUT.writer is None:
                _held.clear()  # the pipeline was reset since those were made
                _State.ours = True
            configure_structlog(
                level=settings.log_level, levels=settings.log_levels, format=settings.log_format
            )
            set_line_counters(message=count_log_message, dropped=count_log_drop)
            _held.add(self)

    def release(self) -> None:
        """Drop this reference; a second call does nothing."""
        with _lock:
            if self in _held:
                _held.discard(self)
                if _State.ours and not _held:
                    _State.ours = False
                    reset_logging()


class _State:
    #: Whether this module configured the pipeline first.
    ours = False


_lock: Final = threading.Lock()
_held: Final[weakref.WeakSet[LoggingSetup]] = weakref.WeakSet()

REMEDY = "gunicorn -c with what `python -m atom_platform gunicorn-config` prints"

log = logging.getLogger("atom_platform.monitoring")


def warn_about_server() -> None:
    """Log a WARNING for each promise that is off under the server of this process."""
    uwsgi = _uwsgi()
    several = uwsgi is not None and int(getattr(uwsgi, "numproc", 1)) > 1
    if os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn"):
        several = True  # a worker cannot see how many there are
    if several and STORAGE.directory is None:
        log.warning(
            "metrics_of_one_process",
            extra={
                "consequence": "each worker counts for itself, and a scrape shows one of them",
                "remedy": REMEDY if uwsgi is None else "one process with threads",
            },
        )
    if uwsgi is not None and not {"enable-threads", "threads"} & uwsgi.opt.keys():
        log.warning(
            "uwsgi_without_threads",
            extra={
                "consequence": "checks run and lines are written while requests are answered only",
                "remedy": "uwsgi --enable-threads",
            },
        )


def _uwsgi() -> Any:
    """Return the `uwsgi` module, which exists only in processes of uWSGI; otherwise None."""
    try:
        return importlib.import_module("uwsgi")
    except ImportError:
        return None
