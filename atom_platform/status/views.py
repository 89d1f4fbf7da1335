"""
`/health/`: the status page, and what it shows that metrics do not hold.

The page computes everything else in the browser from `/health/metrics`, so that it cannot disagree
with what Prometheus sees.
"""

from __future__ import annotations

import html
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from flask import Blueprint, Response, abort, request

from atom_platform.extension.access_control import AccessDecision, AccessPolicy
from atom_platform.health.registry import HealthRegistry
from atom_platform.health.responses import HealthResponder
from atom_platform.logs.records import LOG_OUTPUT
from atom_platform.status.assets import Assets
from atom_platform.status.journal import JOURNAL
from atom_platform.status.workers import living_workers, service_started_at
from atom_platform.timestamps import rfc3339, rfc3339_now

__all__ = ["create_blueprint"]

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
LINKS: Final = {
    "live": "/health/live",
    "ready": "/health/ready",
    "startup": "/health/startup",
    "metrics": "/health/metrics",
    "status": "/health/status",
}
FOR_EVER: Final = "public, max-age=31536000, immutable"

RULE: Final[dict[str, Any]] = {
    "methods": ["GET"],
    "strict_slashes": False,
    "merge_slashes": False,
    "provide_automatic_options": False,
}


def create_blueprint(
    registry: HealthRegistry,
    *,
    is_draining: Callable[[], bool] = lambda: False,
    access: AccessPolicy | None = None,
) -> Blueprint:
    """
    Return the page, and open the journal that it shows.

    Args:
        is_draining: Whether the service is on its way out.
        access: Who may see more than the page's empty frame; everybody by default.
    """
    access = access or AccessPolicy()
    answers = HealthResponder(registry, is_draining=is_draining, startup=lambda: True)
    assets = Assets()
    blueprint = Blueprint("status", __name__)
    JOURNAL.open()
    LOG_OUTPUT.on_error = JOURNAL.note_error

    def may_read() -> bool:
        return access.verdict(request.environ) is AccessDecision.OPEN

    @blueprint.before_request
    def hide() -> None:
        if access.verdict(request.environ) is AccessDecision.HIDDEN:
            abort(404)

    @blueprint.route("/health/", **RULE)
    def page() -> Response:
        # A browser says text/html; whoever does not care is shown what a human would be.
        if request.accept_mimetypes.best_match(["text/html", "application/json"]) == (
            "application/json"
        ):
            return _for_machines(answers, detailed=may_read())
        # The frame is for everybody who may come here: it asks for the token itself.
        response = Response(_filled(assets, locked=not may_read()), mimetype="text/html")
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Vary"] = "Accept"
        return response

    @blueprint.route("/health/status", **RULE)
    def status() -> Response:
        if not may_read():
            refusal = Response("the status needs a bearer token\n", 401, mimetype="text/plain")
            refusal.headers["WWW-Authenticate"] = 'Bearer realm="metrics"'
            return refusal
        return _json(_status(answers))

    @blueprint.route("/health/assets/<version>/<path:name>", **RULE)
    def asset(version: str, name: str) -> Response:
        found = assets.files.get(name)
        if found is None:
            abort(404)
        response = Response(found.body, content_type=found.content_type)
        response.set_etag(found.etag)
        # Around an update two versions answer: what is not quite what was asked for is not kept.
        kept = version == assets.version
        response.headers["Cache-Control"] = FOR_EVER if kept else "no-cache"
        response.make_conditional(request)
        return response

    @blueprint.after_request
    def taken_as_said(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return blueprint


def _for_machines(answers: HealthResponder, *, detailed: bool) -> Response:
    """Return the readiness answer, with links to the others."""
    answer = answers.ready() if detailed else answers.ready_without_checks()
    body = json.loads(answer.body)
    root = request.script_root
    body["links"] = {name: root + path for name, path in LINKS.items()}
    return _json(body, answer.status, {"Vary": "Accept"})


def _status(answers: HealthResponder) -> dict[str, Any]:
    """Return what the page needs beside the metrics; 200 whatever it says."""
    started_at = service_started_at()
    return {
        "timestamp": rfc3339_now(),
        "pid": os.getpid(),
        "service_started_at": None if started_at is None else rfc3339(started_at),
        "readiness": json.loads(answers.ready(verbose=True).body),
        "workers": [asdict(worker) for worker in living_workers()],
        "errors": JOURNAL.errors(),
        "check_turns": JOURNAL.turns(),
        "of": "service" if JOURNAL.is_shared else "worker",
    }


def _filled(assets: Assets, *, locked: bool) -> str:
    root = html.escape(f"{request.script_root}/health/")
    return (
        assets.page.replace("{{root}}", root)
        .replace("{{assets}}", f"{root}assets/{assets.version}/")
        .replace("{{token}}", "required" if locked else "none")
    )


def _json(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(body, separators=(",", ":"))
    return Response(text, status, headers, mimetype="application/json")
