"""
Probes answered with bytes that are ready or nearly so, exactly as the application would by way of
gunicorn.

Readiness is among them because of who asks: while a database hangs, everybody who watches the
service asks for readiness, and as many requests in threads would compete with liveness for the
interpreter.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from atom_platform.extension.request_record import RequestRecord
from atom_platform.ids import new_id
from atom_platform.server.heads import LaneRequest
from atom_platform.server.replies import start_of_reply

__all__ = ["LaneAnswers"]

log = logging.getLogger("atom_platform.server")


class LaneAnswers:
    """
    Builds, counts and logs answers to probes, without a thread and without waiting.

    Args:
        live_body: Returns the body of liveness; its length may vary.
        ready_answer: Returns readiness as something with `status` and `body`, or None when that
            would take time.
        observe: Counts and logs a request as the application's own middleware does.
    """

    def __init__(
        self,
        *,
        live_body: Callable[[], bytes],
        ready_answer: Callable[[], Any],
        observe: Callable[[RequestRecord], object],
    ) -> None:
        self._live_body = live_body
        self._ready_answer = ready_answer
        self._observe = observe
        self._failed = False
        self._second = -1
        self._starts: dict[tuple[int, str, bool, int], str] = {}

    @classmethod
    def of(cls, application: Any) -> LaneAnswers | None:
        """Return those of *application*, None when it is not ours."""
        platform = getattr(application, "extensions", {}).get("atom")
        if platform is None or getattr(platform, "live_body", None) is None:
            return None
        return cls(
            live_body=platform.live_body,
            ready_answer=platform.ready_answer,
            observe=platform.observe_request,
        )

    def render(self, request: LaneRequest, *, keep_alive: bool, remote_addr: str) -> bytes | None:
        """
        Return the whole answer, or None when only the application can give it.

        It is counted by then, as the next scrape may follow at once.
        """
        started = time.perf_counter()
        status = 200
        if request.is_liveness:
            body = self._live_body()
        else:
            answer = self._ready_answer()
            if answer is None:
                return None
            status, body = answer.status, answer.body
        request_id = request.request_id or new_id()
        start = self._start(status, request.version, keep_alive, len(body))
        head = f"{start}{request_id}\r\n\r\n".encode("ascii")
        if request.method == "HEAD":
            body = b""
        try:
            self._observe(
                RequestRecord(
                    request.method,
                    request.path,
                    request.path,
                    status,
                    time.perf_counter() - started,
                    len(body),
                    remote_addr,
                    request_id,
                    request.trace,
                )
            )
        except Exception:
            if not self._failed:  # once: this path runs thousands of times a second
                self._failed = True
                log.exception("probe_not_observed")
        return head + body

    def _start(self, status: int, version: str, keep_alive: bool, body_bytes: int) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._starts.clear()
        key = (status, version, keep_alive, body_bytes)
        start = self._starts.get(key)
        if start is None:
            headers = (
                ("Cache-Control", "no-store"),
                ("Content-Type", "application/json"),
                ("Content-Length", str(body_bytes)),
            )
            start = self._starts[key] = start_of_reply(
                version, status, headers, keep_alive=keep_alive, moment=second
            )
        return start
