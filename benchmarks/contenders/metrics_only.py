"""Our metrics alone: the middleware without ids and access lines."""

from __future__ import annotations

from flask import Flask

from atom_platform.extension.middleware import MonitoringMiddleware
from atom_platform.metrics import instruments
from benchmarks.contenders.routes import add_liveness, add_routes

__all__ = ["app"]

app = add_liveness(add_routes(Flask(__name__, static_folder=None)))
app.wsgi_app = MonitoringMiddleware(  # type: ignore[method-assign]
    app.wsgi_app, app=app, recorder=instruments
)
