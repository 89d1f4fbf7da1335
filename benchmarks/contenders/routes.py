"""The routes that every contender serves."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from flask import Flask, request

__all__ = ["add_liveness", "add_routes"]


def _body() -> dict[str, str]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"status": "alive", "timestamp": now}


def add_routes(app: Flask) -> Flask:
    """Give *app* a JSON route with a variable in its rule, and a slow route."""

    @app.get("/things/<thing_id>")
    def thing(thing_id: str) -> dict[str, Any]:
        return _body()

    @app.get("/slow")
    def slow() -> dict[str, Any]:
        time.sleep(min(10.0, float(request.args.get("seconds", "1"))))
        return _body()

    return app


def add_liveness(app: Flask) -> Flask:
    """Give *app* the liveness endpoint as an ordinary route."""

    @app.get("/health/live")
    def live() -> dict[str, Any]:
        return _body()

    return app
