"""
The way of a request through a worker: its bytes are read by the accept loop until it is whole, then
it is answered on the spot or given to a thread.

A connection either waits in the lobby or is with a thread, never both.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any, Final

from gunicorn.http.errors import LimitRequestHeaders

from atom_platform.metrics.instruments import set_threads_busy
from atom_platform.server.connection import Connection, address_of
from atom_platform.server.drain import is_draining
from atom_platform.server.express import Express, Guest
from atom_platform.server.heads import Kind, judge, lane_request
from atom_platform.server.lane import LaneAnswers
from atom_platform.server.lobby import Lobby
from atom_platform.server.pool import ThreadPool

__all__ = ["Flow"]

READ_BYTES: Final = 65_536
HEALTH_THREADS: Final = 8

#: Pipelined probes answered in one turn; a flood of them must not stop the loop.
MOST_IN_A_ROW: Final = 16


class Flow:
    """
    All requests of one worker.

    Attributes:
        lobby: Where connections wait.
        busy: Ordinary requests that have a thread or wait for one.
    """

    def __init__(self, worker: Any) -> None:
        cfg = worker.cfg
        self._worker = worker
        self._defer = worker.method_queue.defer
        self.lobby = Lobby(worker, on_readable=self._read)
        self.busy = 0
        self._requests: ThreadPool = worker.tpool
        self._pools = {
            Kind.LIVENESS: ThreadPool(1, name="liveness"),
            Kind.HEALTH: ThreadPool(HEALTH_THREADS, name="health"),
            Kind.ORDINARY: self._requests,
        }
        #: Bytes that only gunicorn can make sense of are read by gunicorn, in a thread.
        self._opaque = (
            cfg.is_ssl
            or cfg.protocol != "http"
            or cfg.proxy_protocol != "off"
            or cfg.http2_cleartext in ("prior-knowledge", "both")
        )
        self._lane = LaneAnswers.of(worker.wsgi)
        self._express = Express(self._lane)

    def welcome(self, sock: socket.socket, client: Any, server: Any) -> bool:
        """Take in a new connection; return whether there is time for another in this turn."""
        data = b""
        if not self._opaque:
            try:
                data = sock.recv(READ_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                pass
            except OSError:
                sock.close()
                return True
            else:
                if not data:
                    sock.close()
                    return True
                if self._express.takes(sock, client, server, data):
                    return True
        return self._let_in(Guest(sock, client, server, data))

    def catch_up(self, *, at_once: bool = False) -> None:
        """Answer who was let in and could wait, if it is time for that."""
        for guest in self._express.answer_put_off(at_once=at_once):
            self._let_in(guest)

    def seconds_to_deadlines(self, now: float) -> list[float]:
        """Return how long until somebody has waited enough, in each place where one waits."""
        due = self._express.seconds_to_due(now)
        return [*self.lobby.seconds_to_deadlines(now), *([] if due is None else [due])]

    def close(self) -> None:
        """Close whatever waits, and let the threads go."""
        self.lobby.close()
        for pool in self._pools.values():
            pool.shutdown()

    def _let_in(self, guest: Guest) -> bool:
        self._worker.nr_conns += 1
        connection = Connection(self._worker.cfg, guest.sock, guest.client, guest.server)
        if guest.data:
            connection.received = guest.data
            return self._route(connection)
        self.lobby.wait(connection, self.lobby.silent)
        return False

    # Reading.

    def _read(self, connection: Connection) -> None:
        if self._opaque:
            self._submit(connection, self._requests)
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
            self._submit(connection, self._requests)
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
                self._submit(connection, self._pools[kind])
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
            Whether the connection goes on; None when it takes the application to answer.
        """
        request = lane_request(bytes(connection.received[:length]))
        if request is None or self._lane is None:
            return None
        cfg, alive = self._worker.cfg, self._worker.alive
        keep = bool(request.keep_alive and alive and cfg.keepalive) and not is_draining()
        address = address_of(connection.client)
        answer = self._lane.render(request, keep_alive=keep, remote_addr=address)
        if answer is None:
            return None
        connection.received = connection.received[length:]
        connection.scanned = 0
        whole = False
        with contextlib.suppress(OSError):
            whole = connection.sock.send(answer) == len(answer)
        if whole and keep:
            return True
        if not whole or not (request.keep_alive or connection.received):
            self.lobby.drop(connection)  # it sends without reading; or as in Express
        else:
            self.lobby.linger(connection)
        return False

    # Threads.

    def _submit(self, connection: Connection, pool: ThreadPool) -> None:
        self.lobby.leave(connection)
        if pool is self._requests:
            self._count(+1)
        pool.submit(self._serve, connection, pool)

    def _serve(self, connection: Connection, pool: ThreadPool) -> None:
        """In a thread: let gunicorn parse the request, call the application and answer."""
        keep = False
        try:
            if self._opaque:
                connection.data_ready = True
            else:
                connection.hand_to_parser()
            keep = self._worker.handle(connection)
        finally:
            self._defer(self._served, connection, pool, keep)

    def _served(self, connection: Connection, pool: ThreadPool, keep: bool) -> None:
        """Back on the loop: the connection waits for its next request, or goes."""
        if pool is self._requests:
            self._count(-1)
        if not keep:
            self.lobby.linger(connection)
            return
        try:
            connection.sock.setblocking(False)
        except OSError:
            self.lobby.drop(connection)
            return
        ahead = connection.parser.unreader.take_buffered()
        if self._opaque and ahead:
            connection.parser.unreader.unread(ahead)
            self._submit(connection, self._requests)
        elif ahead:
            connection.received = ahead
            self._route(connection)
        else:
            self.lobby.wait(connection, self.lobby.idle)

    def _count(self, change: int) -> None:
        self.busy += change
        set_threads_busy(min(self.busy, self._worker.cfg.threads))
        self._worker.busy_changed()
