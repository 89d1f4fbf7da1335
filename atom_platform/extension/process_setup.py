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
    A share in the pipeline.

    Whoever comes configures it, and the last one to `release` puts back what the first one found;
    unless the pipeline was there before all of them, as it is under gunicorn.
    """

    def __init__(self, settings: Settings) -> None:
        with _lock:
            if LOG_OUTPUT.writer is None:
                _held.clear()  # by those of an earlier life, which somebody has reset since
                _State.ours = True
            configure_structlog(
                level=settings.log_level, levels=settings.log_levels, format=settings.log_format
            )
            set_line_counters(message=count_log_message, dropped=count_log_drop)
            _held.add(self)

    def release(self) -> None:
        """Give it back; again, do nothing."""
        with _lock:
            if self in _held:
                _held.discard(self)
                if _State.ours and not _held:
                    _State.ours = False
                    reset_logging()


class _State:
    #: Whether the pipeline was configured here first.
    ours = False


_lock: Final = threading.Lock()
_held: Final[weakref.WeakSet[LoggingSetup]] = weakref.WeakSet()

REMEDY = "gunicorn -c with what `python -m atom_platform gunicorn-config` prints"

log = logging.getLogger("atom_platform.monitoring")


def warn_about_server() -> None:
    """Log what will be missing under the server that this process is of."""
    uwsgi = _uwsgi()
    several = uwsgi is not None and int(getattr(uwsgi, "numproc", 1)) > 1
    if os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn"):
        several = True  # as far as a worker can tell
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
    """Return the module that uWSGI gives to the applications it runs; elsewhere there is none."""
    try:
        return importlib.import_module("uwsgi")
    except ImportError:
        return None
