"""
`/health/`: the status page, its files, and the data that metrics do not hold.

The browser computes all other figures from `/health/metrics`, so that the page and Prometheus show
the same values.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from flask import Blueprint, Response, abort, request

from atom_platform.extension.access_control import AccessDecision, AccessPolicy
from atom_platform.health.registry import HealthRegistry
from atom_platform.health.responses import HealthResponder
from atom_platform.logs.records import LOG_OUTPUT
from atom_platform.status.recent_events import RECENT_EVENTS
from atom_platform.status.workers import list_workers, service_started_at
from atom_platform.timestamps import rfc3339, rfc3339_now

__all__ = ["STATIC", "TYPES", "Assets", "create_blueprint"]

STATIC: Final = Path(__file__).resolve().parent / "static"

TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

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
CACHE_IMMUTABLE: Final = "public, max-age=31536000, immutable"

RULE: Final[dict[str, Any]] = {
    "methods": ["GET"],
    "strict_slashes": False,
    "merge_slashes": False,
    "provide_automatic_options": False,
}


@dataclass(frozen=True, slots=True)
class Asset:
    """
    One file of the page.

    Attributes:
        etag: A digest of its bytes, without quotes.
    """

    body: bytes
    content_type: str
    etag: str


class Assets:
    """
    The scripts, styles and images of the page, read once.

    Attributes:
        version: A digest of all files, part of their URL: browsers may cache them for ever, and
            scripts import each other relative to it.
    """

    def __init__(self, directory: Path = STATIC) -> None:
        self.files = {
            path.relative_to(directory).as_posix(): _asset(path)
            for path in sorted(directory.rglob("*"))
            if path.suffix in TYPES
        }
        together = hashlib.sha256()
        for name, asset in self.files.items():
            together.update(f"{name}\0{asset.etag}\0".encode())
        self.version = together.hexdigest()[:16]
        self.page = (directory / "index.html").read_text("utf-8")


def create_blueprint(
    registry: HealthRegistry,
    *,
    is_draining: Callable[[], bool] = lambda: False,
    access: AccessPolicy | None = None,
) -> Blueprint:
    """
    Return the blueprint of the page, and start recording the recent events that it shows.

    Args:
        is_draining: Tells whether the service is draining.
        access: Who may read more than the page's empty frame; every client by default.
    """
    access = access or AccessPolicy()
    answers = HealthResponder(registry, is_draining=is_draining, startup=lambda: True)
    assets = Assets()
    blueprint = Blueprint("status", __name__)
    RECENT_EVENTS.open()
    LOG_OUTPUT.on_error = RECENT_EVENTS.record_error

    def may_read() -> bool:
        return access.verdict(request.environ) is AccessDecision.OPEN

    @blueprint.before_request
    def hide() -> None:
        if access.verdict(request.environ) is AccessDecision.HIDDEN:
            abort(404)

    @blueprint.route("/health/", **RULE)
    def page() -> Response:
        # A browser asks for text/html, which is also the default without a preference.
        if request.accept_mimetypes.best_match(["text/html", "application/json"]) == (
            "application/json"
        ):
            return _json_index(answers, detailed=may_read())
        # The frame holds no data: it asks the user for the token.
        response = Response(_rendered_page(assets, locked=not may_read()), mimetype="text/html")
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
        # During a rolling update two versions answer; only the requested version may be cached.
        kept = version == assets.version
        response.headers["Cache-Control"] = CACHE_IMMUTABLE if kept else "no-cache"
        response.make_conditional(request)
        return response

    @blueprint.after_request
    def forbid_sniffing(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return blueprint


def _json_index(answers: HealthResponder, *, detailed: bool) -> Response:
    """Return the readiness response with links to the other endpoints."""
    answer = answers.ready() if detailed else answers.ready_without_checks()
    body = json.loads(answer.body)
    root = request.script_root
    body["links"] = {name: root + path for name, path in LINKS.items()}
    return _json(body, answer.status, {"Vary": "Accept"})


def _status(answers: HealthResponder) -> dict[str, Any]:
    """Return the data that the page needs beside the metrics."""
    started_at = service_started_at()
    return {
        "timestamp": rfc3339_now(),
        "pid": os.getpid(),
        "service_started_at": None if started_at is None else rfc3339(started_at),
        "readiness": json.loads(answers.ready(verbose=True).body),
        "workers": [asdict(worker) for worker in list_workers()],
        "errors": RECENT_EVENTS.errors(),
        "check_transitions": RECENT_EVENTS.transitions(),
        "of": "service" if RECENT_EVENTS.is_shared else "worker",
    }


def _rendered_page(assets: Assets, *, locked: bool) -> str:
    root = html.escape(f"{request.script_root}/health/")
    return (
        assets.page.replace("{{root}}", root)
        .replace("{{assets}}", f"{root}assets/{assets.version}/")
        .replace("{{token}}", "required" if locked else "none")
    )


def _json(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(body, separators=(",", ":"))
    return Response(text, status, headers, mimetype="application/json")


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(body, TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:32])
