"""
Plain scrapes, answered by one thread for all that wait, exactly as the application would by way of
gunicorn.

Each in a thread of its own, they would spend most of their time in waiting for the interpreter and
for each other's collection. Here all that wait share one that begins after the last of them came.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from atom_platform.extension.request_record import RequestRecord
from atom_platform.ids import new_id
from atom_platform.metrics.http_metrics import add_in_progress, count_aborted
from atom_platform.metrics.scrape.exposition import Exposition, negotiate
from atom_platform.metrics.scrape.page import NO_CACHE_HEADERS, MetricsPage
from atom_platform.server.connection import Connection, address_of
from atom_platform.server.heads import LaneRequest
from atom_platform.server.replies import start_of_reply

__all__ = ["Outcome", "Outcomes", "Scrapes", "Visit", "scrapes_of"]

log = logging.getLogger("atom_platform.server")


class Visit(NamedTuple):
    """
    A scrape that waits.

    Attributes:
        head_bytes: How much of what the connection has received is its own.
        keep_alive: Whether the connection goes on.
        arrived: By `time.perf_counter`.
    """

    connection: Connection
    request: LaneRequest
    head_bytes: int
    keep_alive: bool
    arrived: float


#: Whether all was sent, or what was not yet; None: the application has to answer.
Outcome = bool | list[memoryview] | None
Outcomes = list[tuple[Visit, Outcome]]


class Scrapes:
    """
    Takes scrapes from the accept loop, and tells it when they are over.

    Args:
        page: What a scrape shows.
        observe: Counts and logs a request as the application's own middleware does; in any thread.
        report: Called with outcomes, in any thread.
    """

    def __init__(
        self,
        page: MetricsPage,
        *,
        observe: Callable[[RequestRecord], object],
        report: Callable[[Outcomes], Any],
    ) -> None:
        self._page = page
        self._observe = observe
        self._report = report
        self._waiting: queue.SimpleQueue[Visit | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._logged: set[str] = set()

    def put(self, visit: Visit) -> None:
        """Have *visit* answered; only the accept loop calls this."""
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="scrape", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the next may have more luck
                self._log_once("scrape_thread_not_started")
                self._report([(visit, None)])
                return
            self._thread = thread
        self._waiting.put(visit)

    def close(self) -> None:
        """Let the thread go."""
        self._waiting.put(None)

    def _work(self) -> None:
        while (visit := self._waiting.get()) is not None:
            visits = [visit]
            with contextlib.suppress(queue.Empty):
                while (visit := self._waiting.get_nowait()) is not None:
                    visits.append(visit)
            left, outcomes = deque(visits), Outcomes()
            try:
                self._answer(left, outcomes)
            except Exception:  # no scrape may end this thread, or be forgotten
                self._log_once("scrape_failed")
                outcomes += [(each, False) for each in left]
            self._report(outcomes)
            if visit is None:
                return

    def _answer(self, visits: deque[Visit], outcomes: Outcomes) -> None:
        """Answer all *visits* until none is left, and add their *outcomes*."""
        wanted = [
            negotiate(accept=request.accept, accept_encoding=request.accept_encoding)
            for _, request, *_ in visits
        ]
        add_in_progress(len(visits))
        try:
            expositions = self._page.answers(wanted)
        except Exception:
            self._log_once("scrape_failed")
            expositions = {}
        for each in wanted:
            visit, exposition = visits[0], expositions.get(each)
            add_in_progress(-1)
            if exposition is None or not exposition.body:
                outcomes.append((visit, None))
            else:
                outcomes.append((visit, self._sent(visit, exposition)))
            visits.popleft()

    def _sent(self, visit: Visit, exposition: Exposition) -> Outcome:
        try:
            return self._send(visit, exposition)
        except OSError:
            count_aborted("disconnect")
        except Exception:
            self._log_once("scrape_not_sent")
        return False

    def _send(self, visit: Visit, exposition: Exposition) -> Outcome:
        request, sock = visit.request, visit.connection.sock
        body = exposition.body
        headers = [("Content-Type", exposition.content_type), ("Content-Length", str(len(body)))]
        if exposition.gzipped:
            headers.append(("Content-Encoding", "gzip"))
        start = start_of_reply(
            request.version,
            200,
            (*headers, *NO_CACHE_HEADERS),
            keep_alive=visit.keep_alive,
            moment=time.time(),
        )
        request_id = request.request_id or new_id()
        head = f"{start}{request_id}\r\n\r\n".encode("ascii")
        if request.method == "HEAD":
            body = b""
        try:
            self._observe(
                RequestRecord(
                    method=request.method,
                    path=request.path,
                    endpoint=request.path,
                    status=200,
                    seconds=time.perf_counter() - visit.arrived,
                    body_bytes=len(body),
                    remote_addr=address_of(visit.connection.client),
                    request_id=request_id,
                    trace=request.trace,
                )
            )
        except Exception:
            self._log_once("scrape_not_observed")
        try:
            sent = sock.sendmsg([head, body])
        except BlockingIOError:
            sent = 0
        if sent == len(head) + len(body):
            return True
        # Not joined: all who wait share one body, however many of them do not read it.
        if sent < len(head):
            return [memoryview(head)[sent:], memoryview(body)]
        return [memoryview(body)[sent - len(head) :]]

    def _log_once(self, event: str) -> None:
        """Log what is being handled; it may happen with every scrape."""
        if event not in self._logged:
            self._logged.add(event)
            log.exception(event)


def scrapes_of(application: Any, *, report: Callable[[Outcomes], Any]) -> Scrapes | None:
    """Return those of *application*; None when it is not ours, or wants to see its scrapes."""
    platform = getattr(application, "extensions", {}).get("atom")
    if platform is None or getattr(platform, "page", None) is None:
        return None
    if application.wsgi_app is not platform.wsgi_app:
        return None
    return Scrapes(platform.page, observe=platform.observe_request, report=report)
