"""prometheus_client in Flask's hooks, as its documentation shows it: `.labels()` each time."""

from __future__ import annotations

import time

from flask import Flask, Response, g, request
from prometheus_client import Counter, Histogram

__all__ = ["measured"]


def measured(app: Flask) -> Flask:
    """Count and time the requests of *app*."""
    requests = Counter("http_requests_total", "Requests.", ["method", "endpoint", "status"])
    duration = Histogram(
        "http_request_duration_seconds",
        "Duration of requests.",
        ["method", "endpoint"],
        buckets=[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    )

    @app.before_request
    def start() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def finish(response: Response) -> Response:
        rule = request.url_rule.rule if request.url_rule else "unmatched"
        requests.labels(method=request.method, endpoint=rule, status=response.status_code).inc()
        duration.labels(method=request.method, endpoint=rule).observe(
            time.perf_counter() - g.started
        )
        return response

    return app
