"""
A service in miniature on prometheus_client's multiprocess mode, as its documentation has it.

Application and configuration of gunicorn in one.
"""

from __future__ import annotations

import time
from typing import Any, Final

from flask import Flask, Response, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

__all__ = ["app", "child_exit"]

REQUESTS: Final = Counter("http_requests_total", "Requests.", ["method", "endpoint", "status"])
DURATIONS: Final = Histogram("http_request_duration_seconds", "Durations.", ["method", "endpoint"])
IN_PROGRESS: Final = Gauge("http_requests_in_progress", "In progress.", multiprocess_mode="livesum")

app: Final = Flask(__name__)


@app.before_request
def begin() -> None:
    g.began = time.perf_counter()
    IN_PROGRESS.inc()


@app.after_request
def count(response: Response) -> Response:
    endpoint = request.url_rule.rule if request.url_rule else "unmatched"
    DURATIONS.labels(request.method, endpoint).observe(time.perf_counter() - g.began)
    REQUESTS.labels(request.method, endpoint, response.status_code).inc()
    IN_PROGRESS.dec()
    return response


@app.get("/api/v1/skills")
def skills() -> dict[str, list[str]]:
    return {"skills": ["one", "two", "three"]}


@app.get("/health/live")
@app.get("/health/startup")
def alive() -> dict[str, str]:
    return {"status": "alive"}


@app.get("/health/metrics")
def metrics() -> Response:
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def child_exit(server: Any, worker: Any) -> None:
    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
