"""The routes of the probes: `/health/live`, `/health/ready`, `/health/startup`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, request
from flask.blueprints import BlueprintSetupState

from atom_platform.health.answers import Answer, HealthAnswers, live_body
from atom_platform.health.registry import HealthRegistry

__all__ = ["create_blueprint", "live_body"]


def create_blueprint(
    registry: HealthRegistry,
    *,
    is_draining: Callable[[], bool] = lambda: False,
    startup: Callable[[], bool] = lambda: True,
    shows_checks: Callable[[Mapping[str, Any]], bool] = lambda environ: True,
) -> Blueprint:
    """
    Return the routes, answering from *registry*.

    Args:
        is_draining: Whether the service is on its way out.
        startup: Whether this worker has loaded; the registry's gates come on top.
        shows_checks: Says by its WSGI environment whether a request may see why readiness is as it
            is; the others get the status.
    """
    answers = HealthAnswers(registry, is_draining=is_draining, startup=startup)
    blueprint = Blueprint("health", __name__)
    rule: dict[str, Any] = {
        "methods": ["GET"],
        "strict_slashes": False,  # a probe does not follow redirects
        "merge_slashes": False,
        "provide_automatic_options": False,
    }

    @blueprint.route("/health/live", **rule)
    def live() -> Response:
        return _respond(answers.live())

    @blueprint.route("/health/ready", **rule)
    def ready() -> Response:
        if not shows_checks(request.environ):
            return _respond(answers.readiness_alone(exclude=request.args.getlist("exclude")))
        if not request.query_string:
            return _respond(answers.ready())
        return _respond(
            answers.ready(
                exclude=request.args.getlist("exclude"), verbose="verbose" in request.args
            )
        )

    @blueprint.route("/health/startup", **rule)
    def started() -> Response:
        return _respond(answers.startup())

    @blueprint.record
    def forbid_caching_of_refusals(state: BlueprintSetupState) -> None:
        # A hook costs each request of the application more than a microsecond, so one whose
        # probes are answered in front of it registers the routes alone.
        if not state.options.get("routes_only"):
            state.app.after_request(_forbid_caching_of_refusals)

    return blueprint


def _forbid_caching_of_refusals(response: Response) -> Response:
    """A 405 is the router's answer, not this blueprint's, and may be cached by default."""
    if response.status_code == 405 and request.path.startswith("/health/"):
        response.headers["Cache-Control"] = "no-store"
    return response


def _respond(answer: Answer) -> Response:
    return Response(
        answer.body,
        status=answer.status,
        mimetype="application/json",
        headers={"Cache-Control": "no-store"},
    )
