"""The head of an answer that the server gives by itself, exactly as by way of gunicorn."""

from __future__ import annotations

import http
from collections.abc import Iterable
from typing import Final

from atom_platform.server._compat_gunicorn import SERVER, http_date

__all__ = ["start_of_reply"]

#: As werkzeug writes them, so that no client can tell the server from the route.
STATUS_LINES: Final = {
    status: f"{status} {http.HTTPStatus(status).phrase.upper()}" for status in (200, 503)
}


def start_of_reply(
    version: str,
    status: int,
    headers: Iterable[tuple[str, str]],
    *,
    keep_alive: bool,
    moment: float,
) -> str:
    """
    Return the head up to where the request's id follows.

    Args:
        version: Of HTTP.
        headers: Those of the application.
        moment: The time of day, in seconds since the Unix epoch.
    """
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers])
    return (
        f"HTTP/{version} {STATUS_LINES[status]}\r\n"
        f"Server: {SERVER}\r\n"
        f"Date: {http_date(moment)}\r\n"
        f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n"
        f"{fields}"
        "X-Request-ID: "
    )
