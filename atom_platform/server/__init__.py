"""
What runs inside gunicorn: its hooks, the worker class, and the defaults of its settings.

gunicorn's configuration imports it, so nothing here imports more than the standard library.
"""

from __future__ import annotations

from typing import Any

__all__ = ["gunicorn_defaults"]


def gunicorn_defaults(*, database: bool = False) -> dict[str, Any]:
    """
    Return settings and hooks of gunicorn by name; chooses the metrics directory, once.

    For gunicorn.conf.py: `globals().update(gunicorn_defaults())`. Reads the platform's settings
    from the environment (PORT, WEB_CONCURRENCY, ATOM_THREADS …). A setting with a bad value ends
    the process with one line.

    Args:
        database: Whether DATABASE_URL is the platform's, and is checked here.
    """
    from atom_platform.server import config, hooks

    if not database:
        config.ignore_variable("DATABASE_URL")
    return {
        **config.gunicorn_settings(config.prepare()),
        **{name: getattr(hooks, name) for name in hooks.__all__},
    }
