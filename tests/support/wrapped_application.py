"""The small application behind a middleware, as a load balancer asks for."""

from __future__ import annotations

from werkzeug.middleware.proxy_fix import ProxyFix

from tests.support.application import app as inner

__all__ = ["app"]

app = ProxyFix(inner)
