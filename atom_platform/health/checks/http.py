"""
HTTP check: another service answers a GET with an expected status.

The body is not read. Ask for the liveness of the other service and not for its readiness: two
services that wait for each other's readiness are never ready again.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Container, Mapping
from urllib.parse import urlsplit

from atom_platform.health.check import CheckFailed, CheckResult
from atom_platform.health.checks.network_errors import network_failure, shut_down

__all__ = ["HttpCheck", "http_check"]


class HttpCheck:
    """See `http_check`."""

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float,
        expect: Container[int],
        headers: Mapping[str, str],
        context: ssl.SSLContext | None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an HTTP check takes a URL that starts with http:// or https://")
        if parts.username is not None:
            raise ValueError("credentials belong in the headers of an HTTP check, not in its URL")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._timeout_seconds = timeout_seconds
        self._expect = expect
        self._headers = {"User-Agent": "atom-platform-check", "Connection": "close", **headers}
        self._context = context
        self._connection: http.client.HTTPConnection | None = None

    def __call__(self) -> CheckResult:
        connection = self._connection = self._new_connection()
        try:
            deadline = time.monotonic() + self._timeout_seconds
            connection.connect()
            # The rest of the deadline. The runner's own ends a peer that sends byte by byte.
            connection.sock.settimeout(max(0.001, deadline - time.monotonic()))
            connection.request("GET", self._target, headers=self._headers)
            status = connection.getresponse().status
        except OSError as error:
            raise network_failure("HTTP dependency", error) from error
        except http.client.HTTPException as error:
            raise CheckFailed(
                "HTTP dependency does not speak HTTP", code="invalid_response"
            ) from error
        finally:
            self._connection = None
            connection.close()
        healthy = status in self._expect
        return CheckResult(
            healthy=healthy,
            message=f"HTTP dependency answered {status}",
            code="ok" if healthy else "unexpected_status",
        )

    def cancel(self) -> None:
        """End the run in flight; any thread may call it, at any time."""
        connection = self._connection
        shut_down(None if connection is None else connection.sock)

    def _new_connection(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout_seconds, context=self._context
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_seconds)


def http_check(
    url: str,
    *,
    timeout_seconds: float = 1.0,
    expect: Container[int] = range(200, 400),
    headers: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> HttpCheck:
    """
    Return a check that is healthy while a GET of *url* is answered with an *expected* status.

    Redirects are not followed. `cancel` ends a run whose peer answers slowly.

    Args:
        timeout_seconds: Longest that connecting to an address may take, and the rest of the run.
        expect: The healthy statuses.
        headers: Headers of the request; credentials belong here.
        context: For https; the system's certificates by default.

    Raises:
        ValueError: The URL is not one of HTTP, or holds credentials.
        CheckFailed: From the returned check, when there is no answer.
    """
    return HttpCheck(
        url,
        timeout_seconds=timeout_seconds,
        expect=expect,
        headers=headers or {},
        context=context,
    )
