"""
The public face: what an application needs to be monitored, importable as the guide writes it.

    from atom_platform.monitoring import configure_structlog, get_logger

`Monitoring(app)` gives any Flask application health endpoints, metrics and logs in one line. The
platform's own service uses it too. Optional dependencies such as SQLAlchemy are imported on use.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flask import Flask

from atom_platform import __version__
from atom_platform.extension import application_metrics as own_metrics
from atom_platform.extension.access_control import access_policy, block_api_on_management_port
from atom_platform.extension.dependencies import (
    instrument_engine,
    record_check,
    watch_disk,
    watch_engine,
)
from atom_platform.extension.labels import label_request
from atom_platform.extension.middleware import MonitoringMiddleware
from atom_platform.extension.probe_dispatcher import ProbeDispatcher, create_blueprints
from atom_platform.extension.process_setup import LoggingSetup, warn_about_server
from atom_platform.extension.request_record import RequestRecord
from atom_platform.health.checks.callable import callable_check
from atom_platform.health.registry import HealthRegistry
from atom_platform.health.responses import HealthResponder, HealthResponse, live_body
from atom_platform.logs import (
    RequestContext,
    configure_structlog,
    get_logger,
    log_request,
    propagate,
)
from atom_platform.logs.access_log import AccessLog
from atom_platform.metrics import http_metrics, instruments
from atom_platform.metrics.jobs import counting_with_service
from atom_platform.metrics.scrape.page import MetricsPage
from atom_platform.metrics.track import track_agent, track_query, track_skill
from atom_platform.server.scoreboard import is_draining
from atom_platform.settings import Settings
from atom_platform.skills import SkillFailed

if TYPE_CHECKING:
    from atom_platform.database.engine_check import AnyEngine

__all__ = [
    "Monitoring",
    "Platform",
    "RequestContext",
    "SkillFailed",
    "configure_structlog",
    "counting_with_service",
    "get_logger",
    "instrument_engine",
    "label_request",
    "log_request",
    "propagate",
    "track_agent",
    "track_query",
    "track_skill",
]

F = TypeVar("F", bound=Callable[[], object])

#: The key of our state in `app.extensions`.
EXTENSION: Final = "atom"


@dataclass(frozen=True, slots=True)
class Platform:
    """
    The state of one monitored application, in `app.extensions["atom"]`.

    Attributes:
        settings: The settings of `Monitoring`.
        health: The readiness checks.
        live_body: Makes the body of liveness, for a server that answers it without Flask.
        ready_answer: Makes the readiness response for such a server; None if that may take time, or
            if the response depends on the client.
        observe_request: Counts and logs a request that was answered outside of the application.
        page: The exposition, for such a server; None if the response depends on the client.
        wsgi_app: The WSGI application after `init_app`. If it is wrapped later, by a login for
            example, scrapes pass through the wrapper.
    """

    settings: Settings
    health: HealthRegistry
    live_body: Callable[[], bytes]
    ready_answer: Callable[[], HealthResponse | None]
    observe_request: Callable[[RequestRecord], None]
    page: MetricsPage | None
    wsgi_app: Callable[..., Any]


class Monitoring:
    """
    Health endpoints, metrics, request ids and logs for a Flask application.

    Also a context manager, which calls `close`; useful in tests.

    Args:
        app: The application; it may be given to `init_app` later.
        settings: Read from the environment by default, without DATABASE_URL, which belongs to the
            application.
        checks: Readiness checks by name; `check` takes more options.
        engines: SQLAlchemy engines: their statements are timed, their connections counted, and
            readiness depends on them. The first one's check is called `database`, the next one's
            `database_2`, and so on.
        disk: Whether readiness depends on free disk space.
        excluded_paths: Requests that are neither counted nor logged. A path that ends in a slash
            stands for all below it.
        extra_labels: By label the values that it may have. Requests are counted by each of them in
            `http_requests_by_LABEL_total{LABEL, endpoint, status}`; `label_request` says what a
            request's is, and what is not listed, or not said, is `other`.

    Raises:
        SettingsError: The environment holds what a setting cannot take.
        ValueError: The name of a check or label is invalid.
    """

    counter = staticmethod(own_metrics.counter)
    gauge = staticmethod(own_metrics.gauge)
    histogram = staticmethod(own_metrics.histogram)

    def __init__(
        self,
        app: Flask | None = None,
        *,
        settings: Settings | None = None,
        checks: Mapping[str, Callable[[], object]] | None = None,
        engines: Collection[AnyEngine] = (),
        disk: bool = True,
        excluded_paths: Collection[str] = (),
        extra_labels: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self.settings = settings or Settings.from_environ(without=("DATABASE_URL",))
        self._logs = LoggingSetup(self.settings)
        instruments.configure(max_ids=self.settings.metrics_max_ids)
        self.health = HealthRegistry(partial(record_check, self.settings))
        self._disk = disk
        self._excluded_paths = excluded_paths
        self._request_counters = {
            label: own_metrics.requests_by(label, values)
            for label, values in (extra_labels or {}).items()
        }
        for number, engine in enumerate(engines, 1):
            watch_engine(
                self.health, self.settings, f"database_{number}".removesuffix("_1"), engine
            )
        for name, check in (checks or {}).items():
            self.check(name, check)
        if app is not None:
            self.init_app(app)

    def check(
        self,
        name: str,
        function: Callable[[], object] | None = None,
        /,
        *,
        timeout_seconds: float | None = None,
        critical: bool = True,
        cancel: Callable[[], object] | None = None,
    ) -> Callable[[F], F]:
        """
        Register *function* as a readiness check; without one, return a decorator.

        It is healthy unless it returns False or raises, and may return a `CheckResult`. It runs in
        a thread of its own, once a second while somebody asks.

        Args:
            timeout_seconds: Longest a run may take; the settings' database deadline by default.
            critical: Whether a failure makes the worker not ready; otherwise it is only shown.
            cancel: Ends an overdue run; by default the function's own method of that name.

        Raises:
            ValueError: The name is taken or no lower-case word, or the timeout not positive.
        """

        def register(function: F) -> F:
            self.health.register(
                name,
                callable_check(name, function),
                timeout_seconds=timeout_seconds or self.settings.database_check_timeout_seconds,
                critical=critical,
                cancel=cancel or getattr(function, "cancel", None),
            )
            return function

        if function is not None:
            register(function)
        return register

    def watch_disk(self) -> None:
        """Register the check of free disk space, unless it is registered already."""
        if self._disk:
            self._disk = False
            watch_disk(self.health, self.settings)

    def init_app(self, app: Flask) -> None:
        """
        Add the endpoints to *app*, and count, time and log its requests from now on.

        The application's hooks do not see requests to those endpoints.

        Raises:
            RuntimeError: The application is monitored already, or has a route at the path of one
                of ours.
        """
        if EXTENSION in app.extensions:
            raise RuntimeError("this application is monitored already")
        self.watch_disk()
        access = access_policy(self.settings)
        page = MetricsPage(on_scrape=self._scraped)
        blueprints = create_blueprints(
            self.health,
            access,
            page,
            status_page=self.settings.status_page == "on",
        )
        probes = ProbeDispatcher(app.wsgi_app, blueprints)
        if taken := probes.paths & {rule.rule for rule in app.url_map.iter_rules()}:
            raise RuntimeError(f"the application has its own {', '.join(sorted(taken))}")
        application = MonitoringMiddleware(
            probes,
            app=app,
            recorder=http_metrics,
            access=AccessLog(sample=self.settings.log_access_sample),
            excluded_paths=self._excluded_paths,
            counters=self._request_counters,
        )
        app.wsgi_app = application  # type: ignore[method-assign]
        for each in blueprints:  # for `flask routes`, and for the endpoint of a 405
            app.register_blueprint(each, name=f"{EXTENSION}_{each.name}", routes_only=True)
        if self.settings.management_port is not None:
            block_api_on_management_port(app, access)
        answers = HealthResponder(self.health, is_draining=is_draining, startup=lambda: True)
        app.extensions[EXTENSION] = Platform(
            settings=self.settings,
            health=self.health,
            live_body=live_body,
            ready_answer=(lambda: None) if access.restricted else answers.ready_nowait,
            observe_request=application.observe,
            page=None if access.restricted else page,
            wsgi_app=app.wsgi_app,
        )
        warn_about_server()

    def close(self) -> None:
        """
        Stop the threads of the checks, and restore the log if no other application uses it.

        Counted values stay: metrics belong to the process.
        """
        self.health.stop()
        self._logs.release()

    def __enter__(self) -> Monitoring:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _scraped(self) -> None:
        self.health.start()
        # Here too, for servers without our hooks.
        instruments.set_app_info(__version__, platform.python_version(), self.settings.revision)
