"""
What gunicorn.conf.py needs of the settings, in a module because the file itself runs again on SIGHUP.
"""

from __future__ import annotations

import functools
import os
import resource
import sys
from pathlib import Path
from typing import Final

from atom_platform.settings import Settings, SettingsError

__all__ = ["logger_class", "prepare", "worker_tmp_dir"]

SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 — gunicorn makes an unnamed file in it

#: Connections that wait cost a descriptor and 2 KB, no thread: the usual 1,024 is the tighter bound.
MOST_FILES: Final = 65_536


@functools.cache
def prepare() -> Settings:
    """
    Read the settings and make the process ready for them, once, however often the file runs.

    A wrong setting ends the process with one line: a traceback would hide it, and its value may
    be a secret.
    """
    try:
        settings = Settings.from_environ()
    except SettingsError as error:
        sys.exit(f"atom-platform: {error}")
    _allow_many_files()
    _prepare_metrics(settings)
    return settings


def worker_tmp_dir() -> str | None:
    """Return where workers touch the file that proves them alive: memory, where there is some."""
    return SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK | os.X_OK) else None


def logger_class() -> str:
    """Return gunicorn's logger_class."""
    if (Path(__file__).parents[1] / "logs/gunicorn.py").exists():
        return "atom_platform.logs.gunicorn.GunicornLogger"
    return "gunicorn.glogging.Logger"


def _prepare_metrics(settings: Settings) -> None:
    """Choose the metrics directory now: prometheus_client looks at the variable when imported."""
    try:
        from atom_platform.metrics.multiprocess import directory
    except ImportError:  # pragma: no cover — until the module exists
        return
    directory.prepare(settings.metrics_directory)


def _allow_many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
