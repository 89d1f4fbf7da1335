"""
The thread that answers plain scrapes, byte for byte as the application would by way of gunicorn.

Scrapes in a thread each would spend most of their time on the interpreter's lock and on each
other's collection. Here all waiting scrapes share one collection, which begins after the last of
them arrived.
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
from atom_platform.server.connections import Connection, address_of
from atom_platform.server.probe_responder import response_head
from atom_platform.server.request_head import ProbeRequest

__all__ = ["ScrapeRequest", "ScrapeResult", "ScrapeResults", "ScrapeThread", "scrape_thread_of"]

log = logging.getLogger("atom_platform.server")


class ScrapeRequest(NamedTuple):
    """
    A scrape that waits for the thread.

    Attributes:
        head_bytes: How many of the connection's received bytes are its own.
        keep_alive: Whether the connection stays open after the response.
        arrived: When it arrived, by `time.perf_counter`.
    """

    connection: Connection
    request: ProbeRequest
    head_bytes: int
    keep_alive: bool
    arrived: float


#: Whether the whole response was sent, or the rest of it; None: the application has to answer.
ScrapeResult = bool | list[memoryview] | None
ScrapeResults = list[tuple[ScrapeRequest, ScrapeResult]]


class ScrapeThread:
    """
    Takes scrapes from the accept loop, answers them, and reports the results to it.

    Args:
        page: Makes the exposition.
        observe: Counts and logs a request as the application's own middleware does; in any thread.
        report: Called with results, in any thread.
    """

    def __init__(
        self,
        page: MetricsPage,
        *,
        observe: Callable[[RequestRecord], object],
        report: Callable[[ScrapeResults], Any],
    ) -> None:
        self._page = page
        self._observe = observe
        self._report = report
        self._waiting: queue.SimpleQueue[ScrapeRequest | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._logged: set[str] = set()

    def put(self, scrape: ScrapeRequest) -> None:
        """Queue *scrape*; only the accept loop calls this."""
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="scrape", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # "can't start new thread"; the next scrape tries again
                self._log_once("scrape_thread_not_started")
                self._report([(scrape, None)])
                return
            self._thread = thread
        self._waiting.put(scrape)

    def close(self) -> None:
        """End the thread after the scrapes that wait."""
        self._waiting.put(None)

    def _work(self) -> None:
        while (scrape := self._waiting.get()) is not None:
            scrapes = [scrape]
            with contextlib.suppress(queue.Empty):
                while (scrape := self._waiting.get_nowait()) is not None:
                    scrapes.append(scrape)
            left, results = deque(scrapes), ScrapeResults()
            try:
                self._answer(left, results)
            except Exception:  # no scrape may end this thread, or stay without a result
                self._log_once("scrape_failed")
                results += [(each, False) for each in left]
            self._report(results)
            if scrape is None:
                return

    def _answer(self, scrapes: deque[ScrapeRequest], results: ScrapeResults) -> None:
        """Answer *scrapes* until none is left, and add each one's result to *results*."""
        wanted = [
            negotiate(accept=request.accept, accept_encoding=request.accept_encoding)
            for _, request, *_ in scrapes
        ]
        add_in_progress(len(scrapes))
        try:
            expositions = self._page.answers(wanted)
        except Exception:
            self._log_once("scrape_failed")
            expositions = {}
        for each in wanted:
            scrape, exposition = scrapes[0], expositions.get(each)
            add_in_progress(-1)
            if exposition is None or not exposition.body:
                results.append((scrape, None))
            else:
                results.append((scrape, self._sent(scrape, exposition)))
            scrapes.popleft()

    def _sent(self, scrape: ScrapeRequest, exposition: Exposition) -> ScrapeResult:
        try:
            return self._send(scrape, exposition)
        except OSError:
            count_aborted("disconnect")
        except Exception:
            self._log_once("scrape_not_sent")
        return False

    def _send(self, scrape: ScrapeRequest, exposition: Exposition) -> ScrapeResult:
        """
        Count *scrape* and send as much of its response as the client takes at once.

        Raises:
            OSError: The connection is broken.
        """
        request, sock = scrape.request, scrape.connection.sock
        body = exposition.body
        headers = [("Content-Type", exposition.content_type), ("Content-Length", str(len(body)))]
        if exposition.gzipped:
            headers.append(("Content-Encoding", "gzip"))
        start = response_head(
            request.version,
            200,
            (*headers, *NO_CACHE_HEADERS),
            keep_alive=scrape.keep_alive,
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
                    seconds=time.perf_counter() - scrape.arrived,
                    body_bytes=len(body),
                    remote_addr=address_of(scrape.connection.client),
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
        # Not joined: all scrapes of a batch share one body, however many clients do not read it.
        if sent < len(head):
            return [memoryview(head)[sent:], memoryview(body)]
        return [memoryview(body)[sent - len(head) :]]

    def _log_once(self, event: str) -> None:
        """Log the exception being handled, once for each *event*: every scrape may raise it."""
        if event not in self._logged:
            self._logged.add(event)
            log.exception(event)


def scrape_thread_of(
    application: Any, *, report: Callable[[ScrapeResults], Any]
) -> ScrapeThread | None:
    """
    Return the scrape thread of *application*.

    None when it has no `Monitoring`, or wraps its `wsgi_app` further and so wants to see scrapes.
    """
    platform = getattr(application, "extensions", {}).get("atom")
    if platform is None or getattr(platform, "page", None) is None:
        return None
    if application.wsgi_app is not platform.wsgi_app:
        return None
    return ScrapeThread(platform.page, observe=platform.observe_request, report=report)
