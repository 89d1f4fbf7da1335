"""
Who may read metrics and the details of readiness: whoever has the token, or comes to the port.

Both say much about a service, and neither is meant for those who use it. Without a token and a
management port everybody may, as the monitoring guide has it.
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
    """What a request may see."""

    OPEN = enum.auto()
    #: It brings no token, or a wrong one.
    GUARDED = enum.auto()
    #: It came to a port where there is no such thing.
    HIDDEN = enum.auto()


class AccessPolicy:
    """
    Judges requests by their WSGI environment; with both given, both have to be right.

    Args:
        token: What `Authorization: Bearer` has to bring.
        management_port: The only port to answer on.
    """

    def __init__(self, *, token: str | None = None, management_port: int | None = None) -> None:
        self._token = None if token is None else token.encode("ascii")
        self._management_port = management_port

    @property
    def restricted(self) -> bool:
        """Whether the answer depends on who asks."""
        return self._token is not None or self._management_port is not None

    def verdict(self, environ: Mapping[str, Any]) -> AccessDecision:
        """Say what the request of *environ* may see."""
        if self._management_port is not None and not self.on_management_port(environ):
            return AccessDecision.HIDDEN
        if self._token is not None and not self._brings_token(environ):
            return AccessDecision.GUARDED
        return AccessDecision.OPEN

    def on_management_port(self, environ: Mapping[str, Any]) -> bool:
        """Whether the request came in on the management port; never, when there is none."""
        return self._management_port is not None and _port_of(environ) == self._management_port

    def _brings_token(self, environ: Mapping[str, Any]) -> bool:
        scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip(" ").encode("utf-8", "replace"), self._token or b"")


def _port_of(environ: Mapping[str, Any]) -> int | None:
    """
    Return the local port of the request's connection; None if the server does not show it.

    Not SERVER_PORT: behind a Unix socket that is what the client wrote into its Host header.
    """
    try:
        address = environ["gunicorn.socket"].getsockname()
    except (KeyError, OSError):
        return None
    return address[1] if isinstance(address, tuple) else None


def access_policy(settings: Settings) -> AccessPolicy:
    """Return who may read metrics and the details of readiness."""
    token = settings.metrics_token
    return AccessPolicy(
        token=token.value if token else None, management_port=settings.management_port
    )


def block_api_on_management_port(app: Flask, access: AccessPolicy) -> None:
    """Have *app* answer on the management port for its health alone."""

    def refuse_the_rest() -> None:
        ours = request.path == "/health" or request.path.startswith("/health/")
        if not ours and access.on_management_port(request.environ):
            abort(404)

    # Before the application's own, which may let in or redirect.
    app.before_request_funcs.setdefault(None, []).insert(0, refuse_the_rest)
