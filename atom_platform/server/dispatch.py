"""
The way of a request through a worker.

The accept loop reads a connection until its request is complete. Then the loop answers it
(liveness, readiness), or hands it to the scrape thread, or to a request thread, where gunicorn
parses it and calls the application. A connection either waits in the connection table or is with a
thread, never both.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any, Final

from atom_platform.metrics.instruments import set_threads_busy
from atom_platform.server._compat_gunicorn import LimitRequestHeaders
from atom_platform.server.connections import (
    Connection,
    ConnectionTable,
    ResponseSender,
    address_of,
)
from atom_platform.server.probe_responder import ProbeResponder
from atom_platform.server.request_head import (
    ProbeRequest,
    RequestKind,
    classify,
    probe_request,
)
from atom_platform.server.scoreboard import is_draining
from atom_platform.server.scrape_thread import ScrapeRequest, ScrapeResults, scrape_thread_of
from atom_platform.server.thread_pool import ThreadPool

__all__ = ["ConnectionDispatcher", "RequestThreads"]

READ_BYTES: Final = 65_536

#: Pipelined probes answered in one turn; a flood of them must not stop the loop.
MAX_PIPELINED: Final = 16

#: Threads of each worker for health requests that the loop cannot answer.
HEALTH_THREADS: Final = 8


class ConnectionDispatcher:
    """
    Takes each accepted connection to whatever answers its requests.

    Attributes:
        connections: The connections that wait.
    """

    def __init__(self, worker: Any) -> None:
        cfg = worker.cfg
        self._worker = worker
        self._defer = worker.method_queue.defer
        self.connections = ConnectionTable(
            worker, on_readable=self._on_readable, on_writable=self._on_writable
        )
        self._sender = ResponseSender(self.connections, on_sent=self._on_scraped)
        #: Bytes that only gunicorn can read (TLS, PROXY protocol, HTTP/2) go to a thread unread.
        self._opaque = (
            cfg.is_ssl
            or cfg.protocol != "http"
            or cfg.proxy_protocol != "off"
            or cfg.http2_cleartext in ("prior-knowledge", "both")
        )
        self._threads = RequestThreads(
            worker, self.connections, opaque=self._opaque, on_read_ahead=self._dispatch
        )
        self._scrapes = scrape_thread_of(worker.wsgi, report=self._report)
        self._probes = ProbeResponder.of(worker.wsgi)

    @property
    def busy(self) -> int:
        """How many ordinary requests have a thread or wait for one."""
        return self._threads.busy

    def on_accept(self, sock: socket.socket, client: Any, server: Any) -> bool:
        """Take a new connection; return whether there is time for another one in this turn."""
        self._worker.nr_conns += 1
        connection = Connection(self._worker.cfg, sock, client, server)
        if not self._opaque:
            try:
                more = connection.receive(READ_BYTES)
            except BlockingIOError:
                pass
            except OSError:
                self.connections.drop(connection)
                return True
            else:
                if more:
                    return self._dispatch(connection)
                self.connections.drop(connection)
                return True
        self.connections.wait(connection, self.connections.silent)
        return False

    def answer_postponed(self, *, at_once: bool = False) -> None:
        """Answer the readiness probes that were postponed, if they are due."""
        if self._probes is None:
            return
        for connection, request, length in self._probes.take_postponed(at_once=at_once):
            stays_open = self._respond(connection, request, length, self._probes)
            if stays_open is None:
                self._threads.serve(connection, RequestKind.HEALTH)
            elif stays_open:
                self._next_request(connection)

    def seconds_to_deadlines(self, now: float) -> list[float]:
        """Return the seconds to the next deadline of each kind of wait."""
        due = None if self._probes is None else self._probes.seconds_to_batch(now)
        return [*self.connections.seconds_to_deadlines(now), *([] if due is None else [due])]

    def close(self) -> None:
        """Close the connections that wait, and end the idle threads."""
        self.connections.close()
        self._threads.close()
        if self._scrapes is not None:
            self._scrapes.close()

    # Reading.

    def _on_readable(self, connection: Connection) -> None:
        if self._opaque:
            self._threads.serve(connection, RequestKind.ORDINARY)
            return
        try:
            if connection.receive(READ_BYTES):
                self._dispatch(connection)
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        if connection.wanted:  # a complete head: the application answers the request and counts it
            self._threads.serve(connection, RequestKind.ORDINARY)
        else:
            self.connections.drop(connection)

    def _dispatch(self, connection: Connection) -> bool:
        """Take *connection* on by its bytes; return whether the loop did without a thread."""
        table = self.connections
        for _ in range(MAX_PIPELINED):
            if len(connection.received) < connection.wanted:
                table.wait(connection, table.half_bodies)
                return False
            kind, length = classify(connection.received, scanned=connection.scanned)
            if kind is RequestKind.INCOMPLETE_HEAD:
                connection.scanned = len(connection.received)
                if connection.queue is not table.half_heads:  # more bytes, no more time
                    table.wait(connection, table.half_heads)
                return False
            if kind is RequestKind.INCOMPLETE_BODY:
                connection.wanted = length
                table.wait(connection, table.half_bodies)
                return False
            if kind is RequestKind.OVERLONG_HEAD:
                self._refuse(connection)
                return False
            ordinary = kind is RequestKind.ORDINARY
            stays_open = None if ordinary else self._answer_probe(connection, length)
            if stays_open is None:
                self._threads.serve(connection, kind)
                return False
            if not stays_open:
                return True
            if not connection.received:
                table.wait(connection, table.idle)
                return True
        table.wait(connection, table.half_heads)
        self._defer(self._resume, connection)
        return True

    def _resume(self, connection: Connection) -> None:
        if connection.queue is not None:
            self._dispatch(connection)

    def _refuse(self, connection: Connection) -> None:
        """Answer 431 as gunicorn does, counted and logged; gunicorn would read on, in a thread."""
        try:
            raise LimitRequestHeaders("the head does not end")
        except LimitRequestHeaders as error:  # the logger asks for the exception being handled
            self._worker.handle_error(None, connection.sock, connection.client, error)
        self.connections.linger(connection)

    # Probes.

    def _answer_probe(self, connection: Connection, length: int) -> bool | None:
        """
        Answer the probe whose head is the first *length* bytes, or see that it is answered.

        Returns:
            Whether the connection can take its next request; False also when its response is still
            to come. None when only the application can answer.
        """
        request = probe_request(bytes(connection.received[:length]))
        if request is None or self._probes is None:
            return None
        if request.is_liveness:
            return self._respond(connection, request, length, self._probes)
        if request.is_scrape:
            if self._scrapes is None:
                return None
            self.connections.remove(connection)
            keep = self._keeps_alive(request)
            self._scrapes.put(ScrapeRequest(connection, request, length, keep, time.perf_counter()))
            return False
        self.connections.remove(connection)
        self._probes.postpone(connection, request, length)
        return False

    def _keeps_alive(self, request: ProbeRequest) -> bool:
        worker = self._worker
        return bool(
            request.keep_alive and worker.alive and worker.cfg.keepalive and not is_draining()
        )

    def _respond(
        self, connection: Connection, request: ProbeRequest, length: int, probes: ProbeResponder
    ) -> bool | None:
        """Answer *request* now; return as `_answer_probe` does."""
        keep = self._keeps_alive(request)
        address = address_of(connection.client)
        response = probes.respond(request, keep_alive=keep, remote_addr=address)
        if response is None:
            return None
        try:
            whole = connection.sock.send(response) == len(response)
        except OSError:
            whole = False
        return self._after_response(connection, request, length, whole=whole, keep=keep)

    def _after_response(
        self, connection: Connection, request: ProbeRequest, length: int, *, whole: bool, keep: bool
    ) -> bool:
        """End *connection* unless it stays open; return whether it does."""
        connection.received = connection.received[length:]
        connection.scanned = 0
        if whole and keep:
            return True
        if not whole or not (request.keep_alive or connection.received):
            # The client does not read, or it asked for the end and nothing of it is unread: then
            # closing cannot reset the connection.
            self.connections.drop(connection)
        else:
            self.connections.linger(connection)
        return False

    def _next_request(self, connection: Connection) -> None:
        """Go on with a connection that was answered and stays open."""
        if connection.received:
            self._dispatch(connection)
        else:
            self.connections.wait(connection, self.connections.idle)

    # Scrapes.

    def _report(self, results: ScrapeResults) -> None:
        """Take *results* from the scrape thread to the loop."""
        self._defer(self._on_scrapes, results)

    def _on_scrapes(self, results: ScrapeResults) -> None:
        for scrape, result in results:
            if result is None:
                self._threads.serve(scrape.connection, RequestKind.HEALTH)
            elif isinstance(result, list):
                self._sender.send(scrape, result)
            else:
                self._on_scraped(scrape, result)

    def _on_scraped(self, scrape: ScrapeRequest, whole: bool) -> None:
        connection, request, length, keep, _ = scrape
        if self._after_response(connection, request, length, whole=whole, keep=keep):
            self._next_request(connection)

    def _on_writable(self, connection: Connection) -> None:
        self._sender.continue_sending(connection)


class RequestThreads:
    """
    The threads of a worker, by kind of request. Nothing but health requests can take those of
    health requests.

    Args:
        worker: Its `tpool` serves ordinary requests.
        connections: Where a connection waits before and after.
        opaque: Whether only gunicorn can read the bytes.
        on_read_ahead: Called with a connection of which more than one request has been read.

    Attributes:
        busy: Ordinary requests that have a thread or wait for one.
    """

    def __init__(
        self,
        worker: Any,
        connections: ConnectionTable,
        *,
        opaque: bool,
        on_read_ahead: Callable[[Connection], object],
    ) -> None:
        self._worker = worker
        self._connections = connections
        self._opaque = opaque
        self._on_read_ahead = on_read_ahead
        self._defer = worker.method_queue.defer
        self._pools: dict[RequestKind, ThreadPool] = {
            RequestKind.LIVENESS: ThreadPool(1, name="liveness"),
            RequestKind.HEALTH: ThreadPool(HEALTH_THREADS, name="health"),
            RequestKind.ORDINARY: worker.tpool,
        }
        self.busy = 0

    def serve(self, connection: Connection, kind: RequestKind) -> None:
        """Give *connection*, whose next request is of *kind*, to a thread."""
        self._connections.remove(connection)
        if kind is RequestKind.ORDINARY:
            self._count(+1)
        try:
            self._pools[kind].submit(self._serve, connection, kind)
        except RuntimeError as error:  # "can't start new thread"
            if kind is RequestKind.ORDINARY:
                self._count(-1)
            if self._opaque:
                self._connections.drop(connection)
                return
            self._worker.handle_error(None, connection.sock, connection.client, error)
            self._connections.linger(connection)

    def close(self) -> None:
        """End the idle threads."""
        for pool in self._pools.values():
            pool.shutdown()

    def _serve(self, connection: Connection, kind: RequestKind) -> None:
        """In a thread: gunicorn parses the request, calls the application and answers."""
        keep = False
        try:
            if self._opaque:
                connection.data_ready = True
            else:
                connection.hand_to_parser()
            keep = self._worker.handle(connection)
        finally:
            self._defer(self._on_served, connection, kind, keep)

    def _on_served(self, connection: Connection, kind: RequestKind, keep: bool) -> None:
        """Back on the loop: wait for the connection's next request, or end it."""
        if kind is RequestKind.ORDINARY:
            self._count(-1)
        if not keep:
            self._connections.linger(connection)
            return
        try:
            connection.sock.setblocking(False)
        except OSError:
            self._connections.drop(connection)
            return
        ahead = connection.take_read_ahead()
        if self._opaque and ahead:
            connection.parser.unreader.unread(ahead)
            self.serve(connection, RequestKind.ORDINARY)
        elif ahead:
            connection.received = ahead
            self._on_read_ahead(connection)
        else:
            self._connections.wait(connection, self._connections.idle)

    def _count(self, change: int) -> None:
        self.busy += change
        set_threads_busy(min(self.busy, self._worker.cfg.threads))
        self._worker.busy_changed()
