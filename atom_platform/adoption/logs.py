"""The log pipeline, of which a process has one, shared by those that are monitored in it."""

from __future__ import annotations

import threading
import weakref
from typing import Final

from atom_platform.logs import configure_structlog
from atom_platform.logs.config import reset_logging, set_line_counters
from atom_platform.logs.records import LOG_OUTPUT
from atom_platform.metrics.instruments import count_log_drop, count_log_message
from atom_platform.settings import Settings

__all__ = ["LogLease"]


class LogLease:
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
_held: Final[weakref.WeakSet[LogLease]] = weakref.WeakSet()
