"""
Probes answered with bytes that are ready or nearly so, exactly as the application would by way of
gunicorn.

Readiness is among them because of who asks: while a database hangs, everybody who watches the
service asks for readiness, and as many requests in threads would compete with liveness for the
interpreter. Such a crowd is answered after all other events of a turn, so that liveness never
stands in line behind it, and a 503 in batches: a client that asks again at once, as many do then,
would otherwise starve liveness of CPU.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from atom_platform.ids import new_id
from atom_platform.server.connection import Connection
from atom_platform.server.heads import LaneRequest
from atom_platform.server.replies import start_of_reply

__all__ = ["LaneAnswers"]

#: Short against the half second in which readiness is promised, long against what a batch takes.
UNREADY_BATCH_SECONDS: Final = 0.02
#: More than that are not kept waiting, or they would hold too many descriptors.
MOST_PUT_OFF: Final = 256

PutOff = tuple[Connection, LaneRequest, int]

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
        observe: Callable[..., Any],
    ) -> None:
        self._live_body = live_body
        self._ready_answer = ready_answer
        self._observe = observe
        self._put_off: list[PutOff] = []
        self._not_before = 0.0
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

    def put_off(self, connection: Connection, request: LaneRequest, length: int) -> None:
        """Let *connection*, whose first *length* bytes are *request*, wait for the next batch."""
        self._put_off.append((connection, request, length))

    def seconds_to_due(self, now: float) -> float | None:
        """Return how long until the next batch; None when nobody waits."""
        return max(0.0, self._not_before - now) if self._put_off else None

    def take_put_off(self, *, at_once: bool = False) -> list[PutOff]:
        """Return those that waited, if it is time to answer them."""
        if not self._put_off:
            return []
        few = len(self._put_off) < MOST_PUT_OFF
        if few and not at_once and time.monotonic() < self._not_before:
            return []
        taken, self._put_off = self._put_off, []
        return taken

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
            if status != 200:
                self._not_before = time.monotonic() + UNREADY_BATCH_SECONDS
        request_id = request.request_id or new_id()
        start = self._start(status, request.version, keep_alive, len(body))
        head = f"{start}{request_id}\r\n\r\n".encode("ascii")
        if request.method == "HEAD":
            body = b""
        try:
            self._observe(
                request.method,
                request.path,
                request.path,
                status,
                time.perf_counter() - started,
                len(body),
                remote_addr,
                request_id,
                request.traceparent,
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
