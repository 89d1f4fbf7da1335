"""Our metrics alone: the middleware without ids and access lines."""

from __future__ import annotations

from flask import Flask

from atom_platform.metrics import http_metrics
from atom_platform.metrics.http import ObservedWSGI
from benchmarks.contenders.routes import add_liveness, add_routes

__all__ = ["app"]

app = add_liveness(add_routes(Flask(__name__, static_folder=None)))
observed = ObservedWSGI(app.wsgi_app, app=app, recorder=http_metrics)
app.wsgi_app = observed.__call__  # type: ignore[method-assign]  # as `Monitoring` does
