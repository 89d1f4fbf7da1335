"""
Liveness answered with prebuilt bytes, exactly as the application would by way of gunicorn.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Any, Final

from gunicorn import SERVER
from gunicorn.util import http_date

from atom_platform.server.heads import LiveRequest

__all__ = ["LivenessAnswer"]

PATH: Final = "/health/live"

log = logging.getLogger("atom_platform.server")


class LivenessAnswer:
    """
    Builds, counts and logs answers to liveness requests, without a thread or a lock.

    Args:
        live_body: Returns the body; its length may vary.
        observe: Counts and logs a request as the application's own middleware does.
    """

    def __init__(self, *, live_body: Callable[[], bytes], observe: Callable[..., Any]) -> None:
        self._live_body = live_body
        self._observe = observe
        self._failed = False
        self._second = -1
        self._starts: dict[tuple[str, bool, int], str] = {}

    @classmethod
    def of(cls, application: Any) -> LivenessAnswer | None:
        """Return the one for *application*, None when it is not ours."""
        platform = getattr(application, "extensions", {}).get("atom")
        live_body = getattr(platform, "live_body", None)
        observe = getattr(platform, "observe_request", None)
        if live_body is None or observe is None:
            return None
        return cls(live_body=live_body, observe=observe)

    def render(self, request: LiveRequest, *, keep_alive: bool, remote_addr: str) -> bytes:
        """Return the whole answer; it is counted by then, as the next scrape may follow at once."""
        started = time.perf_counter()
        body = self._live_body()
        request_id = request.request_id or f"{random.getrandbits(128):032x}"
        start = self._start(request.version, keep_alive, len(body))
        head = f"{start}{request_id}\r\n\r\n".encode("ascii")
        if request.method == "HEAD":
            body = b""
        try:
            self._observe(
                request.method,
                PATH,
                PATH,
                200,
                time.perf_counter() - started,
                len(body),
                remote_addr,
                request_id,
                request.traceparent,
            )
        except Exception:
            if not self._failed:  # once: this path runs thousands of times a second
                self._failed = True
                log.exception("liveness_not_observed")
        return head + body

    def _start(self, version: str, keep_alive: bool, body_bytes: int) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._starts.clear()
        start = self._starts.get((version, keep_alive, body_bytes))
        if start is None:
            start = self._starts[version, keep_alive, body_bytes] = (
                f"HTTP/{version} 200 OK\r\n"
                f"Server: {SERVER}\r\n"
                f"Date: {http_date(second)}\r\n"
                f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n"
                "Cache-Control: no-store\r\n"
                "Content-Type: application/json\r\n"
                f"Content-Length: {body_bytes}\r\n"
                "X-Request-ID: "
            )
        return start
