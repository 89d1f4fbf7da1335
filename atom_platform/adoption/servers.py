"""What the server that loads the application was not told, said while somebody still watches."""

from __future__ import annotations

import importlib
import logging
import os
from typing import Any

from atom_platform.metrics.storage.storage import STORAGE

__all__ = ["warn_about_server"]

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
