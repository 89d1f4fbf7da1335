"""The routes of the probes: `/health/live`, `/health/ready`, `/health/startup`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, request
from flask.blueprints import BlueprintSetupState

from atom_platform.health.registry import HealthRegistry
from atom_platform.health.responses import HealthResponder, HealthResponse

__all__ = ["create_blueprint"]


def create_blueprint(
    registry: HealthRegistry,
    *,
    is_draining: Callable[[], bool] = lambda: False,
    startup: Callable[[], bool] = lambda: True,
    shows_checks: Callable[[Mapping[str, Any]], bool] = lambda environ: True,
) -> Blueprint:
    """
    Return the routes, which answer from *registry*.

    Args:
        is_draining: Whether the service is about to stop.
        startup: Whether this worker has loaded; the registry's startup checks come on top.
        shows_checks: Whether the request with this WSGI environment may see the checks; otherwise
            it gets the status only.
    """
    responder = HealthResponder(registry, is_draining=is_draining, startup=startup)
    blueprint = Blueprint("health", __name__)
    rule: dict[str, Any] = {
        "methods": ["GET"],
        "strict_slashes": False,  # a probe does not follow redirects
        "merge_slashes": False,
        "provide_automatic_options": False,
    }

    @blueprint.route("/health/live", **rule)
    def live() -> Response:
        return _respond(responder.live())

    @blueprint.route("/health/ready", **rule)
    def ready() -> Response:
        if not shows_checks(request.environ):
            return _respond(responder.ready_without_checks(exclude=request.args.getlist("exclude")))
        if not request.query_string:
            return _respond(responder.ready())
        return _respond(
            responder.ready(
                exclude=request.args.getlist("exclude"), verbose="verbose" in request.args
            )
        )

    @blueprint.route("/health/startup", **rule)
    def started() -> Response:
        return _respond(responder.startup())

    @blueprint.record
    def forbid_caching_of_refusals(state: BlueprintSetupState) -> None:
        # A hook costs each request of the application more than a microsecond. So an application
        # whose probes are answered in front of it registers the routes only.
        if not state.options.get("routes_only"):
            state.app.after_request(_forbid_caching_of_refusals)

    return blueprint


def _forbid_caching_of_refusals(response: Response) -> Response:
    """Forbid the caching of a 405, which comes from the router and not from this blueprint."""
    if response.status_code == 405 and request.path.startswith("/health/"):
        response.headers["Cache-Control"] = "no-store"
    return response


def _respond(response: HealthResponse) -> Response:
    return Response(
        response.body,
        status=response.status,
        mimetype="application/json",
        headers={"Cache-Control": "no-store"},
    )
