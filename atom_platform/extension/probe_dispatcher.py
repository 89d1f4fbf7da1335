"""
Answers probes and scrapes in front of the application, so that its hooks cannot stop them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flask import Blueprint, Flask, got_request_exception

from atom_platform.extension.access_control import AccessDecision, AccessPolicy
from atom_platform.health import views as health_views
from atom_platform.health.registry import HealthRegistry
from atom_platform.logs.context import note_exception
from atom_platform.metrics.scrape import views as metrics_views
from atom_platform.metrics.scrape.page import MetricsPage
from atom_platform.server.scoreboard import is_draining
from atom_platform.status import views as status_views

__all__ = ["ProbeDispatcher", "create_blueprints"]

WSGI = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class ProbeDispatcher:
    """
    Answers the requests that *blueprints* have routes for, and leaves all others to *wsgi_app*.

    The routes get an application of their own, because the other one's hooks are for its users: a
    login would refuse the probe, a redirect to HTTPS would hide the answer, and a hook that asks
    the database would take liveness down with it.

    Args:
        wsgi_app: What would answer otherwise.
        blueprints: Their rules must be plain paths, of which a trailing slash is served too, or
            begin with a folder that is theirs alone.

    Attributes:
        paths: The rules.
    """

    def __init__(self, wsgi_app: WSGI, blueprints: Iterable[Blueprint]) -> None:
        own = Flask(__name__, static_folder=None)
        for blueprint in blueprints:
            own.register_blueprint(blueprint)
        got_request_exception.connect(_note_exception, own)
        self.wsgi_app = wsgi_app
        self.paths = frozenset(str(rule.rule) for rule in own.url_map.iter_rules())
        self._own = own.wsgi_app
        self._folders = tuple(path.partition("<")[0] for path in self.paths if "<" in path)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        path = environ.get("PATH_INFO", "")
        if (
            path in self.paths
            or path.startswith(self._folders)
            or (path[-1:] == "/" and path.rstrip("/") in self.paths)
            or f"{path}/" in self.paths
        ):
            return self._own(environ, start_response)
        return self.wsgi_app(environ, start_response)


def _note_exception(sender: object, exception: BaseException, **extra: Any) -> None:
    note_exception(exception)


def create_blueprints(
    health: HealthRegistry,
    access: AccessPolicy,
    page: MetricsPage,
    *,
    status_page: bool = False,
) -> tuple[Blueprint, ...]:
    """Return the routes of the probes, of the scrape and, if wanted, of the status page."""
    blueprints = [
        health_views.create_blueprint(
            health,
            is_draining=is_draining,
            shows_checks=lambda environ: access.verdict(environ) is AccessDecision.OPEN,
        ),
        metrics_views.create_blueprint(page, verdict=access.verdict),
    ]
    if status_page:
        blueprints.append(
            status_views.create_blueprint(health, is_draining=is_draining, access=access)
        )
    return tuple(blueprints)
