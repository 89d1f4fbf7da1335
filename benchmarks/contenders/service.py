"""The service itself, with an additional route that keeps a thread busy."""

from __future__ import annotations

from atom_platform.app import create_app
from benchmarks.contenders.routes import add_routes

__all__ = ["app"]

app = add_routes(create_app())
