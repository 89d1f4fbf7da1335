"""
structlog through stdlib logging, and prometheus_client in hooks, as in tutorials.

Its readiness queries the database in the request, through a pool.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import uuid

import structlog
from flask import Flask, Response, g, request
from sqlalchemy import create_engine, text

from benchmarks.contenders.hooks import measured
from benchmarks.contenders.routes import add_liveness, add_routes

__all__ = ["app"]


def logged(app: Flask) -> Flask:
    """Give each request of *app* an id and a line."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    log = structlog.get_logger("access")

    @app.before_request
    def begin() -> None:
        structlog.contextvars.clear_contextvars()
        g.began = time.perf_counter()
        g.request_id = request.headers.get("X-Request-ID") or uuid.uuid4().hex
        structlog.contextvars.bind_contextvars(request_id=g.request_id)

    @app.after_request
    def end(response: Response) -> Response:
        response.headers["X-Request-ID"] = g.request_id
        rule = request.url_rule.rule if request.url_rule else "unmatched"
        log.info(
            "http_request",
            method=request.method,
            path=request.path,
            endpoint=rule,
            status=response.status_code,
            duration_ms=round((time.perf_counter() - g.began) * 1000, 3),
            bytes=response.content_length,
            remote_addr=request.remote_addr,
        )
        return response

    return app


def add_readiness(app: Flask) -> Flask:
    """Give *app* a readiness that queries the database of `DATABASE_URL` each time."""
    url = os.environ.get("DATABASE_URL", "sqlite://")
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))

    @app.get("/health/ready")
    def ready() -> tuple[dict[str, str], int]:
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except Exception:
            return {"status": "not_ready"}, 503
        return {"status": "ready"}, 200

    return app


app = add_readiness(logged(measured(add_liveness(add_routes(Flask(__name__, static_folder=None))))))
