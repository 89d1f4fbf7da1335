"""How a service is asked: as a probe does it, and never through a proxy."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

__all__ = ["TIMEOUT_SECONDS", "Reply", "asking", "reason"]

TIMEOUT_SECONDS = 5.0
MOST_BYTES = 256 * 1024**2


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, and how long it took."""

    status: int
    body: bytes
    milliseconds: float

    def json(self) -> dict[str, Any]:
        """Return the body if it is a JSON object, else an empty one."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


def asking(url: str, *, token: str | None = None) -> Callable[[str], Reply]:
    """
    Return what gets a path of the service at *url*, on a connection of its own each time.

    What it returns raises OSError or HTTPException when there is no answer.

    Args:
        token: Sent as `Authorization: Bearer`.

    Raises:
        ValueError: *url* is none of HTTP.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the URL must start with http:// or https:// and name a host")
    host, port, prefix = parts.hostname, parts.port, parts.path.rstrip("/")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    headers = {"Connection": "close"}
    if token:
        headers["Authorization"] = f"Bearer {token}"

    def get(path: str) -> Reply:
        connection = kind(host, port, timeout=TIMEOUT_SECONDS)
        start = time.perf_counter()
        try:
            connection.request("GET", prefix + path, headers=headers)
            response = connection.getresponse()
            body = response.read(MOST_BYTES)
            return Reply(response.status, body, (time.perf_counter() - start) * 1000)
        finally:
            connection.close()

    return get


def reason(error: Exception) -> str:
    """Say what happened, without the addresses that some errors spell out."""
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
