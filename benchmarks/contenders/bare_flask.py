"""Flask without any monitoring."""

from __future__ import annotations

from flask import Flask

from benchmarks.contenders.routes import add_liveness, add_routes

__all__ = ["app"]

app = add_liveness(add_routes(Flask(__name__, static_folder=None)))
