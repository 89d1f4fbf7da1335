"""prometheus_client in Flask's hooks, and no line."""

from __future__ import annotations

from flask import Flask

from benchmarks.contenders.hooks import measured
from benchmarks.contenders.routes import add_liveness, add_routes

__all__ = ["app"]

app = measured(add_liveness(add_routes(Flask(__name__, static_folder=None))))
