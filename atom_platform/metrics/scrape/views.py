"""`GET /health/metrics`: what Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, request

from atom_platform.extension.access_control import AccessDecision
from atom_platform.metrics.scrape.exposition import negotiate
from atom_platform.metrics.scrape.page import NO_CACHE_HEADERS, MetricsPage

__all__ = ["create_blueprint"]


def create_blueprint(
    page: MetricsPage,
    *,
    verdict: Callable[[Mapping[str, Any]], AccessDecision] = lambda environ: AccessDecision.OPEN,
) -> Blueprint:
    """
    Return the blueprint of `/health/metrics`.

    Args:
        page: The page to show.
        verdict: Decides from the WSGI environment whether a request may see the metrics.
    """
    bp = Blueprint("metrics", __name__)

    # No redirects: a scraper does not follow them. OPTIONS gets 405, as on every health endpoint.
    @bp.route(
        "/health/metrics",
        methods=["GET"],
        strict_slashes=False,
        merge_slashes=False,
        provide_automatic_options=False,
    )
    def metrics() -> Response:
        match verdict(request.environ):
            case AccessDecision.GUARDED:
                refusal = _plain("metrics need a bearer token\n", 401)
                refusal.headers["WWW-Authenticate"] = 'Bearer realm="metrics"'
                return refusal
            case AccessDecision.HIDDEN:
                return _plain("no metrics on this port\n", 404)
        names = request.args.getlist("name[]")
        exposition = page.answer(
            negotiate(
                accept=request.headers.get("Accept", ""),
                accept_encoding=request.headers.get("Accept-Encoding", ""),
                names=names,
            )
        )
        if not exposition.body:
            # Prometheus would take an empty 200 for a service that is up and has no metrics.
            return _plain("no metric to expose\n", 404 if names else 500)
        response = Response(exposition.body, content_type=exposition.content_type)
        if exposition.gzipped:
            response.headers["Content-Encoding"] = "gzip"
        return _uncached(response)

    return bp


def _plain(text: str, status: int) -> Response:
    return _uncached(Response(text, status, content_type="text/plain; charset=utf-8"))


def _uncached(response: Response) -> Response:
    response.headers.extend(NO_CACHE_HEADERS)
    return response
