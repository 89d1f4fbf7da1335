"""
What gunicorn.conf.py needs of the settings; a module, because that file runs again on SIGHUP.
"""

from __future__ import annotations

import argparse
import functools
import os
import resource
import shlex
import sys
from typing import Any, Final

from atom_platform.cgroups import cpu_limit
from atom_platform.metrics.storage import directory
from atom_platform.server.cpu_limit import default_workers
from atom_platform.server.management import is_the_only_port, open_beside
from atom_platform.settings import BAD_DATABASE_OPTION, Settings, SettingsError

__all__ = ["check_addresses", "leave_alone", "prepare", "threads", "worker_tmp_dir", "workers"]

SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 — gunicorn makes an unnamed file in it

#: A connection that waits costs a descriptor and 2 KB, no thread; the usual limit is 1,024.
MOST_FILES: Final = 65_536


#: Variables that belong to the application rather than to us.
_not_ours: Final[set[str]] = set()


def leave_alone(variable: str) -> None:
    """Do not look at *variable*; say so before `prepare`."""
    _not_ours.add(variable)


@functools.cache
def prepare() -> Settings:
    """
    Read the settings, make the process ready for them, and choose the metrics directory, once.

    The directory now, because prometheus_client looks for it when it is imported.
    A wrong setting ends the process with one line: a traceback would hide it, and its value may
    be a secret.
    """
    try:
        settings = Settings.from_environ(without=_not_ours)
        _check_database_options(settings.database_url)
    except SettingsError as error:
        sys.exit(f"atom-platform: {error}")
    if settings.management_port is not None:
        open_beside(settings.management_port)
    _allow_many_files()
    directory.prepare(settings.metrics_directory)
    return settings


def _check_database_options(url: str) -> None:
    """Ask the driver here, where it is one line: in the workers it would be tracebacks."""
    if "?" in url and not url.startswith("sqlite"):
        from atom_platform.database.postgres.addresses import parse_url

        try:
            parse_url(url, statement_timeout_seconds=1)
        except ValueError:
            raise SettingsError(BAD_DATABASE_OPTION) from None


def check_addresses(addresses: list[Any]) -> None:
    """End the process with one line if gunicorn's *addresses* leave the API nowhere."""
    port = prepare().management_port
    if port is not None and is_the_only_port(port, addresses):
        sys.exit("atom-platform: ATOM_MANAGEMENT_PORT must be another port than the service's own")


def workers(given: Settings) -> int:
    """Return how many workers were asked for; else as many as the container's CPU limit carries."""
    asked = bool(os.environ.get("WEB_CONCURRENCY", "").strip())
    return given.workers if asked else default_workers(cpu_limit())


def threads(given: Settings) -> int:
    """Return how many threads a worker has: one for `-k sync`, which else were made gthread."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-k", "--worker-class")
    arguments = [*shlex.split(os.environ.get("GUNICORN_CMD_ARGS", "")), *sys.argv[1:]]
    return 1 if parser.parse_known_args(arguments)[0].worker_class == "sync" else given.threads


def worker_tmp_dir() -> str | None:
    """Return where workers touch the file that proves them alive: memory, where there is some."""
    return SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK | os.X_OK) else None


def _allow_many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
