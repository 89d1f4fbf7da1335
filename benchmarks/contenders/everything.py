"""All of ours in one line: metrics, request id, context, JSON access line, health endpoints."""

from __future__ import annotations

from flask import Flask

from atom_platform.monitoring import Monitoring
from benchmarks.contenders.routes import add_routes

__all__ = ["app"]

app = add_routes(Flask(__name__, static_folder=None))
Monitoring(app)
