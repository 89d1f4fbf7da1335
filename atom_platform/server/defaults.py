"""
The defaults of gunicorn's settings: for gunicorn.conf.py, and for the file that `gunicorn-config`
prints for other applications.

Standard library only when imported, because gunicorn.conf.py runs before the metrics directory
exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from atom_platform.settings import Settings

__all__ = ["configuration_file", "gunicorn_defaults"]

OUR_WORKER: Final = "atom_platform.server.worker.HealthLaneWorker"
OUR_LOGGER: Final = "atom_platform.logs.gunicorn.GunicornLogger"

HEADER = '''\
"""
gunicorn's configuration, with the defaults of atom_platform: `gunicorn application:app` finds it
here. GUNICORN_CMD_ARGS and gunicorn's flags win over all of it.
"""

from atom_platform.server import gunicorn_defaults

globals().update(gunicorn_defaults())

# What follows wins over the defaults, which are at the moment:
'''
FOOTER = """
# The defaults are also hooks. To have one of your own, call the default in it:
#
#     _post_fork = gunicorn_defaults()["post_fork"]
#
#     def post_fork(server, worker):
#         _post_fork(server, worker)
"""


def gunicorn_defaults(*, database: bool = False) -> dict[str, Any]:
    """
    Return settings of gunicorn by name; chooses the metrics directory, once.

    For gunicorn.conf.py: `globals().update(gunicorn_defaults())`. It reads the platform's settings
    from the environment (PORT, WEB_CONCURRENCY, ATOM_THREADS …).

    A setting that holds what it cannot take ends the process with one line.

    Args:
        database: Whether DATABASE_URL is the platform's, and is checked here.
    """
    from atom_platform.server import configuration, hooks

    if not database:
        configuration.leave_alone("DATABASE_URL")
    return {
        **_values(configuration.prepare()),
        **{name: getattr(hooks, name) for name in hooks.__all__},
    }


def configuration_file() -> str:
    """
    Return the text of a gunicorn.conf.py that takes the defaults, and lists them.

    Raises:
        SettingsError: The environment holds what a setting cannot take.
    """
    from atom_platform.settings import Settings

    # Not `prepare`: it takes the metrics directory, and empties it.
    given = Settings.from_environ(without=("DATABASE_URL",))
    values = _values(given)
    lines = [f"# {name} = {value!r}" for name, value in values.items()]
    return HEADER + "\n".join(lines) + "\n" + FOOTER


def _values(given: Settings) -> dict[str, Any]:
    from atom_platform.server.configuration import addresses, threads, worker_tmp_dir, workers

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


def _classes() -> tuple[str, str]:
    """Return worker class and logger class: ours where the installed gunicorn is proven."""
    worker, logger = OUR_WORKER, OUR_LOGGER
    try:
        from atom_platform.server._compat_gunicorn import (
            PLAIN_LOGGER,
            PLAIN_WORKER,
            Feature,
            proof,
        )
    except ImportError:  # no gunicorn here: the file is for elsewhere
        return worker, logger
    found = proof()
    return (
        worker if found.holds(Feature.WORKER) else PLAIN_WORKER,
        logger if found.holds(Feature.LOGGER) else PLAIN_LOGGER,
    )
