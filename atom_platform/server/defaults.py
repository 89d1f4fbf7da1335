"""
gunicorn's configuration for an application that is not the platform's: the same defaults.

Standard library only when imported, as for gunicorn.conf.py, which says why each value is what it
is; a test holds the two together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atom_platform.settings import Settings

__all__ = ["configuration_file", "gunicorn_defaults"]

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


def gunicorn_defaults() -> dict[str, Any]:
    """
    Return settings of gunicorn by name; chooses the metrics directory, once.

    For gunicorn.conf.py: `globals().update(gunicorn_defaults())`. It reads the platform's settings
    from the environment (PORT, WEB_CONCURRENCY, ATOM_THREADS …), but leaves DATABASE_URL alone.

    A setting that holds what it cannot take ends the process with one line.
    """
    from atom_platform.server import configuration, hooks

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
    from atom_platform.server.configuration import threads, worker_tmp_dir, workers

    return {
        "bind": [f"0.0.0.0:{given.port}"],
        "workers": workers(given),
        "threads": threads(given),
        "worker_class": "atom_platform.server.worker.HealthLaneWorker",
        "worker_connections": 10_000,
        "worker_tmp_dir": worker_tmp_dir(),
        "preload_app": False,
        "logger_class": "atom_platform.logs.gunicorn.GunicornLogger",
        "timeout": 30,
        "graceful_timeout": 30,
        "keepalive": 75,
        "limit_request_line": 4094,
        "limit_request_fields": 100,
        "limit_request_field_size": 8190,
        "header_map": "drop",
        "forwarder_headers": "",
        "control_socket_disable": True,
    }
