"""
The responses that the accept loop gives to probes, byte for byte as the application would by way
of gunicorn.

Readiness is among them because of who asks: while a database hangs, everything that watches the
service asks for readiness, and as many requests in threads would compete with liveness for the
interpreter.
"""

from __future__ import annotations

import http
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from atom_platform.extension.request_record import RequestRecord
from atom_platform.ids import new_id
from atom_platform.server._compat_gunicorn import SERVER, http_date
from atom_platform.server.connections import Connection
from atom_platform.server.request_head import ProbeRequest

__all__ = ["ProbeResponder", "response_head"]

#: 503 answers to readiness are sent in batches. Without that, clients that retry at once starve
#: liveness of CPU. Short against the 0.5 s in which readiness is promised, long against a batch.
UNREADY_BATCH_SECONDS: Final = 0.02

#: A batch of so many is sent at once, or it would hold too many descriptors.
MAX_POSTPONED: Final = 256

#: As werkzeug writes them, so that no client can tell the server from the route.
STATUS_LINES: Final = {
    status: f"{status} {http.HTTPStatus(status).phrase.upper()}" for status in (200, 503)
}

Postponed = tuple[Connection, ProbeRequest, int]

log = logging.getLogger("atom_platform.server")


class ProbeResponder:
    """
    Builds, counts and logs responses to probes, without a thread and without waiting.

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
        self._postponed: list[Postponed] = []
        self._not_before = 0.0
        self._failed = False
        self._second = -1
        self._heads: dict[tuple[int, str, bool, int], str] = {}

    @classmethod
    def of(cls, application: Any) -> ProbeResponder | None:
        """Return the responder of *application*; None when it has no `Monitoring`."""
        platform = getattr(application, "extensions", {}).get("atom")
        if platform is None or getattr(platform, "live_body", None) is None:
            return None
        return cls(
            live_body=platform.live_body,
            ready_answer=platform.ready_answer,
            observe=platform.observe_request,
        )

    def postpone(self, connection: Connection, request: ProbeRequest, length: int) -> None:
        """
        Let a readiness probe wait until the other events of this turn are handled.

        Args:
            length: How many of the connection's bytes are *request*.
        """
        self._postponed.append((connection, request, length))

    def seconds_to_batch(self, now: float) -> float | None:
        """Return the seconds until postponed probes are due; None when there are none."""
        return max(0.0, self._not_before - now) if self._postponed else None

    def take_postponed(self, *, at_once: bool = False) -> list[Postponed]:
        """Return the postponed probes if they are due, or in any case with *at_once*."""
        if not self._postponed:
            return []
        few = len(self._postponed) < MAX_POSTPONED
        if few and not at_once and time.monotonic() < self._not_before:
            return []
        taken, self._postponed = self._postponed, []
        return taken

    def respond(self, request: ProbeRequest, *, keep_alive: bool, remote_addr: str) -> bytes | None:
        """
        Return the whole response, or None when only the application can give it.

        The request is counted by then, because the next scrape may follow at once.
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
        start = self._head(status, request.version, keep_alive, len(body))
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
            if not self._failed:  # once: this runs thousands of times a second
                self._failed = True
                log.exception("probe_not_observed")
        return head + body

    def _head(self, status: int, version: str, keep_alive: bool, body_bytes: int) -> str:
        """Return the head up to the request's id; each is built once a second, for its date."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._heads.clear()
        key = (status, version, keep_alive, body_bytes)
        head = self._heads.get(key)
        if head is None:
            headers = (
                ("Cache-Control", "no-store"),
                ("Content-Type", "application/json"),
                ("Content-Length", str(body_bytes)),
            )
            head = self._heads[key] = response_head(
                version, status, headers, keep_alive=keep_alive, moment=second
            )
        return head


def response_head(
    version: str,
    status: int,
    headers: Iterable[tuple[str, str]],
    *,
    keep_alive: bool,
    moment: float,
) -> str:
    """
    Return the head of a response up to where the request's id follows.

    Args:
        version: The version of HTTP.
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
