"""prometheus-flask-exporter in its multiprocess form. It writes no line."""

from __future__ import annotations

from flask import Flask
from prometheus_flask_exporter.multiprocess import (  # type: ignore[import-not-found,unused-ignore]
    GunicornInternalPrometheusMetrics,
)

from benchmarks.contenders.routes import add_liveness, add_routes

__all__ = ["app"]

app = Flask(__name__, static_folder=None)
GunicornInternalPrometheusMetrics(app, group_by="url_rule")
add_liveness(add_routes(app))
