"""
The way of a connection through a worker: wait, be read, be answered, wait again or go.

A connection is either in a waiting room, and then registered with the poller, or with a thread.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from atom_platform.server.connection import Connection, WaitingRoom
from atom_platform.server.drain import is_draining
from atom_platform.server.heads import Kind, LiveRequest, judge, known_live_request, live_request
from atom_platform.server.liveness import LivenessAnswer
from atom_platform.server.pool import ThreadPool

__all__ = ["Flow"]

READ_BYTES: Final = 65_536
HEALTH_THREADS: Final = 8

SILENT_SECONDS: Final = 30.0  # connected, and not a byte
HALF_SENT_SECONDS: Final = 10.0  # for the whole of a head; between two pieces of a body
LINGER_SECONDS: Final = 2.0  # answered and half closed: closing early would cut the answer off

#: Pipelined liveness requests answered in one turn; a flood of them must not stop the loop.
MOST_IN_A_ROW: Final = 16

TIMEOUT_ANSWER: Final = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)

log = logging.getLogger("atom_platform.server")


class Flow:
    """
    All connections of one worker.

    Attributes:
        busy: Ordinary requests that have a thread or wait for one.
    """

    def __init__(self, worker: Any) -> None:
        cfg = worker.cfg
        self._worker = worker
        self._poller = worker.poller
        self._defer = worker.method_queue.defer
        self.busy = 0
        health = ThreadPool(HEALTH_THREADS, name="health")
        self._requests: ThreadPool = worker.tpool
        self._pools = {
            Kind.LIVENESS: ThreadPool(1, name="liveness"),
            Kind.HEALTH: health,
            Kind.ORDINARY: self._requests,
        }
        #: Bytes that only gunicorn can make sense of are read by gunicorn, in a thread.
        self._opaque = (
            cfg.is_ssl
            or cfg.protocol != "http"
            or cfg.proxy_protocol != "off"
            or cfg.http2_cleartext in ("prior-knowledge", "both")
        )
        logs_itself = (
            cfg.accesslog or cfg.statsd_host
        )  # gunicorn's own access log sees threads only
        self._liveness = None if logs_itself else LivenessAnswer.of(worker.wsgi)
        self.set_threads_busy = _threads_busy_gauge()

        self._silent = WaitingRoom(SILENT_SECONDS, on_expiry=self._drop)
        self._idle = WaitingRoom(cfg.keepalive, on_expiry=self._drop)
        self._half_heads = WaitingRoom(HALF_SENT_SECONDS, on_expiry=self._give_up)
        self._half_bodies = WaitingRoom(HALF_SENT_SECONDS, on_expiry=self._give_up)
        self._lingering = WaitingRoom(LINGER_SECONDS, on_expiry=self._drop)
        #: In the order in which they make room.
        self._rooms = (
            self._lingering,
            self._silent,
            self._idle,
            self._half_heads,
            self._half_bodies,
        )

    # What the loop asks for.

    def welcome(self, sock: socket.socket, client: Any, server: Any) -> bool:
        """Take in a new connection; return whether it has been answered already."""
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
                if not data or self._answered_at_once(sock, client, data):
                    sock.close()
                    return True
        self._worker.nr_conns += 1
        connection = Connection(self._worker.cfg, sock, client, server)
        if data:
            connection.received = data
            return self._route(connection)
        self._wait(connection, self._silent)
        return False

    def _answered_at_once(self, sock: socket.socket, client: Any, data: bytes) -> bool:
        """
        Answer a probe that has come before, byte for byte, and asks for no second request.

        Most probes are like that, and none of what a connection needs to wait is made for them.
        A client that asked for the end sends no more, and nothing unread is left: closing cannot
        reset what it has not read yet.
        """
        request = known_live_request(data)
        if request is None or request.keep_alive or self._liveness is None:
            return False
        answer = self._liveness.render(request, keep_alive=False, remote_addr=_address(client))
        with contextlib.suppress(OSError):
            sock.send(answer, socket.MSG_DONTWAIT)  # a new socket has room for it
        return True

    def seconds_to_deadlines(self, now: float) -> list[float]:
        waits = (room.seconds_to_next(now) for room in self._rooms)
        return [wait for wait in waits if wait is not None]

    def expire(self, now: float) -> None:
        """See out whoever has waited long enough."""
        for room in self._rooms:
            room.expire(now)

    def hurry(self, due: float) -> None:
        """Let nobody who may have nothing to say wait beyond *due*."""
        self._silent.shorten(due)
        self._idle.shorten(due)

    def make_room(self) -> bool:
        """Close the connection that is most likely of no use; return whether there was one."""
        for room in self._rooms:
            connection = room.longest_waiting()
            if connection is not None:
                self._drop(connection)
                return True
        return False

    def close(self) -> None:
        """Close whatever waits, and let the threads go."""
        for room in self._rooms:
            for connection in room:
                self._drop(connection)
        for pool in self._pools.values():
            pool.shutdown()

    # Reading.

    def _on_readable(self, connection: Connection, _socket: Any) -> None:
        if connection.room is None:
            return  # dropped earlier in the same batch of events
        if connection.room is self._lingering:
            self._discard(connection)
            return
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
        self._drop(connection)

    def _route(self, connection: Connection) -> bool:
        """Send the connection where its bytes belong; return whether it was answered on the spot."""
        for _ in range(MOST_IN_A_ROW):
            if len(connection.received) < connection.wanted:
                self._wait(connection, self._half_bodies)
                return False
            kind, length = judge(connection.received, scanned=connection.scanned)
            if kind is Kind.HALF_HEAD:
                connection.scanned = len(connection.received)
                if connection.room is not self._half_heads:  # more bytes, no more time
                    self._wait(connection, self._half_heads)
                return False
            if kind is Kind.HALF_BODY:
                connection.wanted = length
                self._wait(connection, self._half_bodies)
                return False
            request = None
            if kind is Kind.LIVENESS and self._liveness is not None:
                request = live_request(bytes(connection.received[:length]))
            if request is None or self._liveness is None:
                self._submit(connection, self._pools[kind])
                return False
            connection.received = connection.received[length:]
            connection.scanned = 0
            if not self._answer(connection, request, self._liveness):
                return True
            if not connection.received:
                self._wait(connection, self._idle)
                return True
        self._wait(connection, self._half_heads)
        self._defer(self._resume, connection)
        return True

    def _resume(self, connection: Connection) -> None:
        if connection.room is not None:
            self._route(connection)

    def _answer(
        self, connection: Connection, request: LiveRequest, liveness: LivenessAnswer
    ) -> bool:
        """Answer liveness on the spot; return whether the connection goes on."""
        keep = request.keep_alive and self._worker.alive and not is_draining()
        keep = keep and bool(self._worker.cfg.keepalive)
        answer = liveness.render(
            request, keep_alive=keep, remote_addr=_address(connection.client)
        )
        try:
            whole = connection.sock.send(answer) == len(answer)
        except OSError:
            whole = False
        if not whole:
            self._drop(connection)  # it sends without reading
            return False
        if not keep:
            # A client that asked for the end sends no more, and nothing unread is left: closing
            # cannot reset what it has not read yet.
            done = not request.keep_alive and not connection.received
            self._drop(connection) if done else self._linger(connection)
        return keep

    # Threads.

    def _submit(self, connection: Connection, pool: ThreadPool) -> None:
        if connection.room is not None:
            self._leave(connection)
        if pool is self._requests:
            self.busy += 1
            self._worker.busy_changed()
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
        """Back on the loop."""
        if pool is self._requests:
            self.busy -= 1
            self._worker.busy_changed()
        if not keep:
            self._linger(connection)
            return
        try:
            connection.sock.setblocking(False)
        except OSError:
            self._drop(connection)
            return
        ahead = connection.parser.unreader.take_buffered()
        if self._opaque and ahead:
            connection.parser.unreader.unread(ahead)
            self._submit(connection, self._requests)
        elif ahead:
            connection.received = ahead
            self._route(connection)
        else:
            self._wait(connection, self._idle)

    # Waiting and going.

    def _wait(self, connection: Connection, room: WaitingRoom) -> None:
        if connection.room is None:
            self._poller.register(
                connection.sock, selectors.EVENT_READ, partial(self._on_readable, connection)
            )
        room.enter(connection, time.monotonic())

    def _leave(self, connection: Connection) -> None:
        self._poller.unregister(connection.sock)
        if connection.room is not None:
            connection.room.leave(connection)

    def _linger(self, connection: Connection) -> None:
        """Close once the client has, or after a while; gunicorn waits for that on the loop."""
        try:
            connection.sock.setblocking(False)
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(connection)
            return
        self._wait(connection, self._lingering)
        self._discard(connection)

    def _discard(self, connection: Connection) -> None:
        try:
            if connection.sock.recv(READ_BYTES):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._drop(connection)

    def _give_up(self, connection: Connection) -> None:
        with contextlib.suppress(OSError):
            connection.sock.send(TIMEOUT_ANSWER)
        self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        if connection.room is not None:
            self._leave(connection)
        self._worker.nr_conns -= 1
        connection.close()


def _address(client: Any) -> str:
    """As REMOTE_ADDR has it."""
    return str(client[0]) if isinstance(client, tuple) else str(client)


def _threads_busy_gauge() -> Callable[[int], Any]:
    try:
        from atom_platform.metrics.instruments import set_threads_busy
    except ImportError:
        return lambda busy: None
    return set_threads_busy
