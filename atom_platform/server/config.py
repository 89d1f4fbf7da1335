"""
The values of gunicorn's settings, and what a process needs before gunicorn starts.

`gunicorn_settings` is the one place of our defaults: gunicorn.conf.py takes them, and so does the
file that `gunicorn-config` prints for other applications. A module and not gunicorn.conf.py itself,
because that file runs again on SIGHUP. Standard library only when imported: it runs before the
metrics directory exists.
"""

from __future__ import annotations

import argparse
import functools
import logging
import os
import resource
import shlex
import sys
from typing import Any, Final

from atom_platform.cgroups import cpu_limit
from atom_platform.metrics.storage import directory
from atom_platform.settings import BAD_DATABASE_OPTION, Settings, SettingsError

__all__ = [
    "add_management_port",
    "addresses",
    "check_addresses",
    "configuration_file",
    "default_workers",
    "gunicorn_settings",
    "ignore_variable",
    "is_only_port",
    "prepare",
    "threads",
    "with_port",
    "worker_tmp_dir",
    "workers",
]

OUR_WORKER: Final = "atom_platform.server.worker.ProbeThreadWorker"
OUR_LOGGER: Final = "atom_platform.logs.gunicorn.GunicornLogger"

#: With one CPU or more: two workers, so that one serves while the other is being replaced. Not more
#: on more CPUs: each takes database connections out of a budget that no replica can see.
USUAL_WORKERS: Final = 2

SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 — gunicorn makes an unnamed file in it

#: A connection that waits costs a descriptor and 2 KB, no thread; the usual limit is 1,024.
MAX_FILES: Final = 65_536

HEADER: Final = '''\
"""
gunicorn's configuration, with the defaults of atom_platform: `gunicorn application:app` finds it
here. GUNICORN_CMD_ARGS and gunicorn's flags win over all of it.
"""

from atom_platform.server import gunicorn_defaults

globals().update(gunicorn_defaults())

# What follows wins over the defaults, which are at the moment:
'''
FOOTER: Final = """
# The defaults are also hooks. To have one of your own, call the default in it:
#
#     _post_fork = gunicorn_defaults()["post_fork"]
#
#     def post_fork(server, worker):
#         _post_fork(server, worker)
"""

log = logging.getLogger("atom_platform.server")

#: Variables that belong to the application rather than to the platform.
_ignored: Final[set[str]] = set()


def gunicorn_settings(given: Settings) -> dict[str, Any]:
    """Return our defaults of gunicorn's settings, by name."""
    worker_class, logger_class = _classes()
    return {
        "bind": addresses(given),
        "workers": workers(given),
        "threads": threads(given),
        "worker_class": worker_class,
        "worker_connections": 10_000,  # in the poller; past it the longest idle one is closed
        "worker_tmp_dir": worker_tmp_dir(),  # a read-only root has no other writable place
        "preload_app": False,  # pools and threads must be born after the fork
        "logger_class": logger_class,
        "timeout": 30,  # seconds, of the accept loop; requests run in threads
        "graceful_timeout": 30,  # terminationGracePeriodSeconds > ATOM_DRAIN_SECONDS + this
        "keepalive": 75,  # above the 60 s of load balancers: the client closes first
        "limit_request_line": 4094,
        "limit_request_fields": 100,
        "limit_request_field_size": 8190,
        # X_Forwarded_For must not pass for X-Forwarded-For; refusing it would be a 400.
        "header_map": "drop",
        # gunicorn lets a trusted proxy send SCRIPT_NAME and PATH_INFO, and some proxies pass on
        # those of a client: `SCRIPT_NAME: /api` would make /health/metrics of /api/health/metrics.
        "forwarder_headers": "",
        # On by default since 25.1: any process of the same user could stop the service by it.
        "control_socket_disable": True,
    }


def configuration_file() -> str:
    """
    Return the text of a gunicorn.conf.py that takes the defaults, and lists them.

    Raises:
        SettingsError: A setting has a bad value.
    """
    # Not `prepare`: it takes the metrics directory, and empties it.
    given = Settings.from_environ(without=("DATABASE_URL",))
    values = gunicorn_settings(given)
    lines = [f"# {name} = {value!r}" for name, value in values.items()]
    return HEADER + "\n".join(lines) + "\n" + FOOTER


def ignore_variable(variable: str) -> None:
    """Leave *variable* to the application; call it before `prepare`."""
    _ignored.add(variable)


@functools.cache
def prepare() -> Settings:
    """
    Read the settings, raise limits, and choose the metrics directory, once.

    The directory now, because prometheus_client looks for it when it is imported. A bad setting
    ends the process with one line: a traceback would hide it, and its value may be a secret.
    """
    try:
        settings = Settings.from_environ(without=_ignored)
        _check_database_options(settings.database_url)
    except SettingsError as error:
        sys.exit(f"atom-platform: {error}")
    if settings.management_port is not None and _validator_is_proven():
        add_management_port(settings.management_port)
    _allow_many_files()
    directory.prepare(settings.metrics_directory)
    return settings


def _check_database_options(url: str) -> None:
    """Ask the driver here, where a bad option is one line: in the workers it is a traceback."""
    if "?" in url and not url.startswith("sqlite"):
        from atom_platform.database.postgres.addresses import parse_url

        try:
            parse_url(url, statement_timeout_seconds=1)
        except ValueError:
            raise SettingsError(BAD_DATABASE_OPTION) from None


def _allow_many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(MAX_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


# Single settings.


def _classes() -> tuple[str, str]:
    """Return worker class and logger class: ours where the installed gunicorn is proven."""
    try:
        from atom_platform.server._compat_gunicorn import (
            PLAIN_LOGGER,
            PLAIN_WORKER,
            Feature,
            proof,
        )
    except ImportError:  # no gunicorn here: the file is printed for elsewhere
        return OUR_WORKER, OUR_LOGGER
    found = proof()
    return (
        OUR_WORKER if found.holds(Feature.WORKER) else PLAIN_WORKER,
        OUR_LOGGER if found.holds(Feature.LOGGER) else PLAIN_LOGGER,
    )


def workers(given: Settings) -> int:
    """Return how many workers were asked for; otherwise what the container's CPU limit carries."""
    asked = bool(os.environ.get("WEB_CONCURRENCY", "").strip())
    return given.workers if asked else default_workers(cpu_limit())


def default_workers(limit_cpus: float | None) -> int:
    """Return how many workers to start by default: one where two would share less than a CPU."""
    return 1 if limit_cpus is not None and limit_cpus < 1 else USUAL_WORKERS


def threads(given: Settings) -> int:
    """Return the threads of a worker; 1 for `-k sync`, which would otherwise become gthread."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-k", "--worker-class")
    arguments = [*shlex.split(os.environ.get("GUNICORN_CMD_ARGS", "")), *sys.argv[1:]]
    return 1 if parser.parse_known_args(arguments)[0].worker_class == "sync" else given.threads


def worker_tmp_dir() -> str | None:
    """Return where workers touch the file that proves them alive: memory, where there is some."""
    return SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK | os.X_OK) else None


# Addresses. gunicorn has four sources of `bind`, of which the last one wins, and `--bind` must not
# close the management port. gunicorn compares its addresses at a reload and opens all of them anew
# when they differ, so they have to be the same each time: the port is added where a value of `bind`
# is validated.


def addresses(given: Settings) -> list[str]:
    """Return where to listen: every IPv4 address, as gunicorn's own 127.0.0.1 is out of reach."""
    found = [f"0.0.0.0:{given.port}"]
    if given.management_port not in (None, given.port) and not _validator_is_proven():
        found.append(f"0.0.0.0:{given.management_port}")  # lost when `--bind` leaves it out
    return found


def add_management_port(port: int) -> None:
    """Let every value of gunicorn's `bind` have *port* too, from now on in this process."""
    from atom_platform.server._compat_gunicorn import bind_setting, validate_list_string

    def validated(value: Any) -> list[str]:
        return with_port(validate_list_string(value), port)

    bind_setting.validator = staticmethod(validated)


def with_port(given: list[str], port: int) -> list[str]:
    """
    Return addresses and, unless one of them has *port*, that port on the hosts of the others.

    On every IPv4 address if they name no host: beside a Unix socket.
    """
    from atom_platform.server._compat_gunicorn import parse_address

    pairs = [pair for pair in map(parse_address, given) if isinstance(pair, tuple)]
    if any(each == port for _, each in pairs):
        return given
    hosts = dict.fromkeys(host for host, _ in pairs) or ["0.0.0.0"]  # noqa: S104 — as the main one
    beside = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts]
    return [*given, *beside]


def check_addresses(given: list[Any]) -> None:
    """
    End the process with one line if gunicorn's addresses have no port for the API.

    A management port that is not among them, because gunicorn could not be made to open it, is
    logged.
    """
    port = prepare().management_port
    if port is None:
        return
    if is_only_port(port, given):
        sys.exit("atom-platform: ATOM_MANAGEMENT_PORT must be another port than the service's own")
    if not any(isinstance(each, tuple) and each[1] == port for each in given):
        log.warning(
            "management_port_not_bound",
            extra={"port": port, "consequence": "no metrics: give gunicorn a --bind for it too"},
        )


def is_only_port(port: int, given: list[Any]) -> bool:
    """Return whether gunicorn's addresses have no port but *port*, and no Unix socket."""
    return all(isinstance(each, tuple) and each[1] == port for each in given)


def _validator_is_proven() -> bool:
    try:
        from atom_platform.server._compat_gunicorn import Feature, proof
    except ImportError:  # no gunicorn here
        return False
    return proof().holds(Feature.MANAGEMENT_PORT)
