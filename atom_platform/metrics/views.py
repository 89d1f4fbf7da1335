"""`GET /health/metrics`: what Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from flask import Blueprint, Response, request

from atom_platform.access import Verdict
from atom_platform.metrics.definitions import METRICS_COLLECT_DURATION
from atom_platform.metrics.exposition import negotiated
from atom_platform.metrics.processes import Processes
from atom_platform.metrics.recording import HistogramFamily
from atom_platform.metrics.scrape import Scrape

__all__ = ["create_blueprint"]


def create_blueprint(
    *,
    on_scrape: Callable[[], None] = lambda: None,
    verdict: Callable[[Mapping[str, Any]], Verdict] = lambda environ: Verdict.OPEN,
) -> Blueprint:
    """
    Return the blueprint of `/health/metrics`.

    Args:
        on_scrape: Told that somebody is watching; must return at once.
        verdict: Says by its WSGI environment whether a request may see the metrics.
    """
    bp = Blueprint("metrics", __name__)
    scrape = Scrape(Processes().families)
    durations = HistogramFamily(METRICS_COLLECT_DURATION)

    # A scraper does not follow redirects; OPTIONS gets the 405 that every health endpoint gives.
    @bp.route(
        "/health/metrics",
        methods=["GET"],
        strict_slashes=False,
        merge_slashes=False,
        provide_automatic_options=False,
    )
    def metrics() -> Response:
        match verdict(request.environ):
            case Verdict.GUARDED:
                refusal = _plain("metrics need a bearer token\n", 401)
                refusal.headers["WWW-Authenticate"] = 'Bearer realm="metrics"'
                return refusal
            case Verdict.HIDDEN:
                return _plain("no metrics on this port\n", 404)
        started_at = perf_counter()
        on_scrape()
        names = request.args.getlist("name[]")
        exposition = scrape.answer(
            negotiated(
                accept=request.headers.get("Accept", ""),
                accept_encoding=request.headers.get("Accept-Encoding", ""),
                names=names,
            )
        )
        durations.observe(perf_counter() - started_at)
        if not exposition.body:
            # Prometheus would take an empty 200 for a service that is up and has nothing to say.
            return _plain("no metric to expose\n", 404 if names else 500)
        response = Response(exposition.body, content_type=exposition.content_type)
        if exposition.gzipped:
            response.headers["Content-Encoding"] = "gzip"
        return _uncached(response)

    return bp


def _plain(text: str, status: int) -> Response:
    return _uncached(Response(text, status, content_type="text/plain; charset=utf-8"))


def _uncached(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Accept, Accept-Encoding"
    return response
