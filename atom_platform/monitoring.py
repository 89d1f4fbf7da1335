"""
The public face: what an application needs to be monitored, importable as the guide writes it.

    from atom_platform.monitoring import configure_structlog, get_logger

`Monitoring(app)` gives any Flask application the health endpoints, the metrics and the logs in one
line; the platform's own service is its first user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from flask import Flask, abort, request

from atom_platform.access import Access, Verdict
from atom_platform.database.instrument import instrument_engine
from atom_platform.health import views as health_views
from atom_platform.health.answers import Answer, HealthAnswers
from atom_platform.health.checks.disk import BYTES_PER_GB, disk_check
from atom_platform.health.registry import HealthRegistry
from atom_platform.health.result import Check, CheckResult
from atom_platform.logs import (
    RequestContext,
    configure_structlog,
    get_logger,
    log_request,
    propagate,
)
from atom_platform.logs.config import count_with
from atom_platform.logs.http import AccessLog
from atom_platform.metrics import instruments
from atom_platform.metrics import views as metrics_views
from atom_platform.metrics.http import ObservedWSGI
from atom_platform.metrics.instruments import track_agent, track_query, track_skill
from atom_platform.metrics.jobs import counting_with_service
from atom_platform.server.drain import is_draining
from atom_platform.settings import Settings
from atom_platform.skills.failure import SkillFailed

__all__ = [
    "Monitoring",
    "Platform",
    "RequestContext",
    "SkillFailed",
    "configure_structlog",
    "counting_with_service",
    "get_logger",
    "instrument_engine",
    "log_request",
    "propagate",
    "track_agent",
    "track_query",
    "track_skill",
]

#: Where an application keeps what belongs to it.
EXTENSION: Final = "atom"


@dataclass(frozen=True, slots=True)
class Platform:
    """
    What `Monitoring` leaves in `app.extensions["atom"]`.

    Attributes:
        settings: The settings it was made with.
        health: The readiness checks.
        live_body: Makes the body of the liveness answer, for servers that give it themselves.
        ready_answer: Makes the readiness answer for them; None when that might take time, or the
            answer depends on who asks.
        observe_request: Counts and logs a request that was answered outside of the application.
    """

    settings: Settings
    health: HealthRegistry
    live_body: Callable[[], bytes]
    ready_answer: Callable[[], Answer | None]
    observe_request: Callable[..., None]


class Monitoring:
    """
    Health endpoints, metrics, request ids and logs for a Flask application.

    Args:
        app: The application; or give it to `init_app` later.
        settings: Read from the environment by default.
        checks: Readiness checks by name, each with the settings' database deadline; `register` of
            `health` takes more.

    Raises:
        SettingsError: The environment holds what a setting cannot take.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        settings: Settings | None = None,
        checks: Mapping[str, Check] | None = None,
    ) -> None:
        self.settings = settings or Settings.from_environ()
        configure_structlog(
            level=self.settings.log_level,
            levels=self.settings.log_levels,
            format=self.settings.log_format,
        )
        instruments.configure(max_ids=self.settings.metrics_max_ids)
        count_with(message=instruments.count_log_message, dropped=instruments.count_log_drop)
        self.health = HealthRegistry(self._record_check)
        for name, check in (checks or {}).items():
            self.health.register(
                name, check, timeout_seconds=self.settings.database_check_timeout_seconds
            )
        if app is not None:
            self.init_app(app)

    def watch_disk(self) -> None:
        """Add the check of free disk space that the settings describe."""
        self.health.register(
            "disk",
            disk_check(self.settings.disk_path, min_free_gb=self.settings.disk_min_free_gb),
            timeout_seconds=self.settings.database_check_timeout_seconds,
            measures=("free_gb",),
        )

    def _record_check(self, name: str, result: CheckResult, duration_seconds: float) -> None:
        instruments.record_check(name, result.healthy, duration_seconds)
        free_gb = result.details.get("free_gb")
        if name == "disk" and free_gb is not None:
            instruments.set_disk_free(str(self.settings.disk_path), free_gb * BYTES_PER_GB)

    def init_app(self, app: Flask) -> None:
        """
        Give *app* the endpoints, and have its requests counted, timed and logged from now on.

        Raises:
            RuntimeError: The application is monitored already; each request would count twice.
        """
        if EXTENSION in app.extensions:
            raise RuntimeError("this application is monitored already")
        observed = ObservedWSGI(
            app.wsgi_app,
            app=app,
            recorder=instruments,
            access=AccessLog(sample=self.settings.log_access_sample),
        )
        app.wsgi_app = observed  # type: ignore[method-assign]  # Flask's documented way to wrap it
        token = self.settings.metrics_token
        access = Access(
            token=token.value if token else None, management_port=self.settings.management_port
        )
        app.register_blueprint(
            health_views.create_blueprint(
                self.health,
                is_draining=is_draining,
                shows_checks=lambda environ: access.verdict(environ) is Verdict.OPEN,
            )
        )
        app.register_blueprint(
            metrics_views.create_blueprint(on_scrape=self.health.wake, verdict=access.verdict)
        )
        if self.settings.management_port is not None:
            _keep_to_health(app, access)
        answers = HealthAnswers(self.health, is_draining=is_draining, startup=lambda: True)
        app.extensions[EXTENSION] = Platform(
            settings=self.settings,
            health=self.health,
            live_body=health_views.live_body,
            ready_answer=(lambda: None) if access.restricted else answers.ready_at_once,
            observe_request=observed.observe,
        )


def _keep_to_health(app: Flask, access: Access) -> None:
    """Have *app* answer on the management port for its health alone."""

    def refuse_the_rest() -> None:
        ours = request.path == "/health" or request.path.startswith("/health/")
        if not ours and access.on_management_port(request.environ):
            abort(404)

    # Before the application's own, which may let in or redirect.
    app.before_request_funcs.setdefault(None, []).insert(0, refuse_the_rest)
