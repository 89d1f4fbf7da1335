"""
Access to metrics and to the details of readiness: by a token, by a management port, or open.

Without a token and a management port the endpoints are open, as in the monitoring guide.
"""

from __future__ import annotations

import enum
import hmac
from collections.abc import Mapping
from typing import Any

from flask import Flask, abort, request

from atom_platform.settings import Settings

__all__ = ["AccessDecision", "AccessPolicy", "access_policy", "block_api_on_management_port"]


class AccessDecision(enum.Enum):
    """The outcome for one request."""

    OPEN = enum.auto()
    #: The token is missing or wrong: 401.
    GUARDED = enum.auto()
    #: The request came in on another port than the management port: 404.
    HIDDEN = enum.auto()


class AccessPolicy:
    """
    Decides on requests by their WSGI environment. With both arguments, both must fit.

    Args:
        token: The token that `Authorization: Bearer` must hold.
        management_port: The only port that these endpoints are served on.
    """

    def __init__(self, *, token: str | None = None, management_port: int | None = None) -> None:
        self._token = None if token is None else token.encode("ascii")
        self._management_port = management_port

    @property
    def restricted(self) -> bool:
        """Whether the response depends on the client."""
        return self._token is not None or self._management_port is not None

    def verdict(self, environ: Mapping[str, Any]) -> AccessDecision:
        """Return the decision for the request of *environ*."""
        if self._management_port is not None and not self.on_management_port(environ):
            return AccessDecision.HIDDEN
        if self._token is not None and not self._has_token(environ):
            return AccessDecision.GUARDED
        return AccessDecision.OPEN

    def on_management_port(self, environ: Mapping[str, Any]) -> bool:
        """Return whether the request came in on the management port; False if none is set."""
        return self._management_port is not None and _port_of(environ) == self._management_port

    def _has_token(self, environ: Mapping[str, Any]) -> bool:
        """Return whether the request has the right token; compares in constant time."""
        scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip(" ").encode("utf-8", "replace"), self._token or b"")


def _port_of(environ: Mapping[str, Any]) -> int | None:
    """
    Return the local port of the request's connection; None if the server does not tell.

    SERVER_PORT is not used: behind a Unix socket it comes from the client's Host header.
    """
    try:
        address = environ["gunicorn.socket"].getsockname()
    except (KeyError, OSError):
        return None
    return address[1] if isinstance(address, tuple) else None


def access_policy(settings: Settings) -> AccessPolicy:
    """Return the policy of *settings* for metrics and the details of readiness."""
    token = settings.metrics_token
    return AccessPolicy(
        token=token.value if token else None, management_port=settings.management_port
    )


def block_api_on_management_port(app: Flask, access: AccessPolicy) -> None:
    """Answer 404 on the management port to all requests of *app* but those below `/health`."""

    def reject_other_paths() -> None:
        allowed = request.path == "/health" or request.path.startswith("/health/")
        if not allowed and access.on_management_port(request.environ):
            abort(404)

    # Before the application's own hooks, which may answer or redirect.
    app.before_request_funcs.setdefault(None, []).insert(0, reject_other_paths)
