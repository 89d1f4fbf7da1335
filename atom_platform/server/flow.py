"""
The way of a request through a worker: its bytes are read by the accept loop until it is whole, then
it is answered on the spot or given to a thread.

A connection either waits in the lobby or is with a thread, never both.
"""

from __future__ import annotations

import socket
import time
from typing import Any, Final

from atom_platform.server._compat_gunicorn import LimitRequestHeaders
from atom_platform.server.connection import Connection, address_of
from atom_platform.server.drain import is_draining
from atom_platform.server.heads import Kind, LaneRequest, judge, lane_request
from atom_platform.server.lane import LaneAnswers
from atom_platform.server.lobby import Lobby
from atom_platform.server.readers import Readers
from atom_platform.server.scrapes import Outcomes, Visit, scrapes_of
from atom_platform.server.threads import Threads

__all__ = ["Flow"]

READ_BYTES: Final = 65_536

#: Pipelined probes answered in one turn; a flood of them must not stop the loop.
MOST_IN_A_ROW: Final = 16


class Flow:
    """
    All requests of one worker.

    Attributes:
        lobby: Where connections wait.
    """

    def __init__(self, worker: Any) -> None:
        cfg = worker.cfg
        self._worker = worker
        self._defer = worker.method_queue.defer
        self.lobby = Lobby(worker, on_readable=self._read, on_writable=self._send_on)
        self._readers = Readers(self.lobby, on_sent=self._scraped)
        #: Bytes that only gunicorn can make sense of are read by gunicorn, in a thread.
        self._opaque = (
            cfg.is_ssl
            or cfg.protocol != "http"
            or cfg.proxy_protocol != "off"
            or cfg.http2_cleartext in ("prior-knowledge", "both")
        )
        self._threads = Threads(worker, self.lobby, opaque=self._opaque, on_ahead=self._route)
        self._scrapes = scrapes_of(worker.wsgi, report=self._report)
        self._lane = LaneAnswers.of(worker.wsgi)

    @property
    def busy(self) -> int:
        """How many ordinary requests have a thread or wait for one."""
        return self._threads.busy

    def welcome(self, sock: socket.socket, client: Any, server: Any) -> bool:
        """Take in a new connection; return whether there is time for another in this turn."""
        self._worker.nr_conns += 1
        connection = Connection(self._worker.cfg, sock, client, server)
        if not self._opaque:
            try:
                more = connection.receive(READ_BYTES)
            except BlockingIOError:
                pass
            except OSError:
                self.lobby.drop(connection)
                return True
            else:
                if more:
                    return self._route(connection)
                self.lobby.drop(connection)
                return True
        self.lobby.wait(connection, self.lobby.silent)
        return False

    def catch_up(self, *, at_once: bool = False) -> None:
        """Answer the readiness probes that were put off, if it is time for that."""
        if self._lane is None:
            return
        for connection, request, length in self._lane.take_put_off(at_once=at_once):
            goes_on = self._answer_probe(connection, request, length, self._lane)
            if goes_on is None:
                self._threads.serve(connection, Kind.HEALTH)
            elif goes_on:
                self._go_on(connection)

    def seconds_to_deadlines(self, now: float) -> list[float]:
        """Return how long until somebody has waited enough, in each place where one waits."""
        due = None if self._lane is None else self._lane.seconds_to_due(now)
        return [*self.lobby.seconds_to_deadlines(now), *([] if due is None else [due])]

    def close(self) -> None:
        """Close whatever waits, and let the threads go."""
        self.lobby.close()
        self._threads.close()
        if self._scrapes is not None:
            self._scrapes.close()

    # Reading.

    def _read(self, connection: Connection) -> None:
        if self._opaque:
            self._threads.serve(connection, Kind.ORDINARY)
            return
        try:
            if connection.receive(READ_BYTES):
                self._route(connection)
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        if connection.wanted:  # a request by its head: the application answers it, and it counts
            self._threads.serve(connection, Kind.ORDINARY)
        else:
            self.lobby.drop(connection)

    def _route(self, connection: Connection) -> bool:
        """Send a connection where its bytes belong; return whether it was answered on the spot."""
        lobby = self.lobby
        for _ in range(MOST_IN_A_ROW):
            if len(connection.received) < connection.wanted:
                lobby.wait(connection, lobby.half_bodies)
                return False
            kind, length = judge(connection.received, scanned=connection.scanned)
            if kind is Kind.HALF_HEAD:
                connection.scanned = len(connection.received)
                if connection.room is not lobby.half_heads:  # more bytes, no more time
                    lobby.wait(connection, lobby.half_heads)
                return False
            if kind is Kind.HALF_BODY:
                connection.wanted = length
                lobby.wait(connection, lobby.half_bodies)
                return False
            if kind is Kind.ENDLESS_HEAD:
                self._refuse(connection)
                return False
            goes_on = None if kind is Kind.ORDINARY else self._answered(connection, length)
            if goes_on is None:
                self._threads.serve(connection, kind)
                return False
            if not goes_on:
                return True
            if not connection.received:
                lobby.wait(connection, lobby.idle)
                return True
        lobby.wait(connection, lobby.half_heads)
        self._defer(self._resume, connection)
        return True

    def _resume(self, connection: Connection) -> None:
        if connection.room is not None:
            self._route(connection)

    def _refuse(self, connection: Connection) -> None:
        """Answer 431 as gunicorn does, counted and logged; it would read on, in a thread."""
        try:
            raise LimitRequestHeaders("the head does not end")
        except LimitRequestHeaders as error:  # the logger asks for what is being handled
            self._worker.handle_error(None, connection.sock, connection.client, error)
        self.lobby.linger(connection)

    # Answering on the spot.

    def _answered(self, connection: Connection, length: int) -> bool | None:
        """
        Answer the probe whose head is the first *length* bytes.

        Returns:
            Whether the connection goes on, for readiness and scrapes not before their answer; None
            when it takes the application to answer.
        """
        request = lane_request(bytes(connection.received[:length]))
        if request is None or self._lane is None:
            return None
        if request.is_liveness:
            return self._answer_probe(connection, request, length, self._lane)
        if request.is_scrape:
            if self._scrapes is None:
                return None
            self.lobby.leave(connection)
            keep = self._keeps(request)
            self._scrapes.put(Visit(connection, request, length, keep, time.perf_counter()))
            return False
        self.lobby.leave(connection)
        self._lane.put_off(connection, request, length)
        return False

    def _keeps(self, request: LaneRequest) -> bool:
        worker = self._worker
        return bool(
            request.keep_alive and worker.alive and worker.cfg.keepalive and not is_draining()
        )

    def _answer_probe(
        self, connection: Connection, request: LaneRequest, length: int, lane: LaneAnswers
    ) -> bool | None:
        """Answer a probe now; return as `_answered` does."""
        keep = self._keeps(request)
        address = address_of(connection.client)
        answer = lane.render(request, keep_alive=keep, remote_addr=address)
        if answer is None:
            return None
        try:
            whole = connection.sock.send(answer) == len(answer)
        except OSError:
            whole = False
        return self._settled(connection, request, length, whole=whole, keep=keep)

    def _settled(
        self, connection: Connection, request: LaneRequest, length: int, *, whole: bool, keep: bool
    ) -> bool:
        """See out a connection that was answered, unless it goes on; return whether it does."""
        connection.received = connection.received[length:]
        connection.scanned = 0
        if whole and keep:
            return True
        if not whole or not (request.keep_alive or connection.received):
            # A client that sends without reading; or one that sends no more, and nothing is unread:
            # closing cannot reset what it has not read yet.
            self.lobby.drop(connection)
        else:
            self.lobby.linger(connection)
        return False

    # Scrapes.

    def _report(self, outcomes: Outcomes) -> None:
        """In another thread."""
        self._defer(self._scraped, outcomes)

    def _send_on(self, connection: Connection) -> None:
        self._readers.send_on(connection)

    def _scraped(self, outcomes: Outcomes) -> None:
        """Back on the loop, as after a thread."""
        for visit, whole in outcomes:
            connection, request, length, keep, _ = visit
            if whole is None:
                self._threads.serve(connection, Kind.HEALTH)
            elif isinstance(whole, list):
                self._readers.send(visit, whole)
            elif self._settled(connection, request, length, whole=whole, keep=keep):
                self._go_on(connection)

    def _go_on(self, connection: Connection) -> None:
        """See to the next request of a connection that was answered."""
        if connection.received:
            self._route(connection)
        else:
            self.lobby.wait(connection, self.lobby.idle)
