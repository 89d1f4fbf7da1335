"""Our metrics alone: the middleware without ids and access lines."""

from __future__ import annotations

from flask import Flask

from atom_platform.metrics import instruments
from atom_platform.metrics.http import ObservedWSGI
from benchmarks.contenders.routes import add_liveness, add_routes

__all__ = ["app"]

app = add_liveness(add_routes(Flask(__name__, static_folder=None)))
app.wsgi_app = ObservedWSGI(  # type: ignore[method-assign]  # Flask's documented way to wrap it
    app.wsgi_app, app=app, recorder=instruments
)
