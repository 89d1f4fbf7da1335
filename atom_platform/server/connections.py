"""
The connections of one worker that wait without a thread, and how they are closed.

A waiting connection is registered with the poller and stands in one of six queues. The queues
differ in what the connection waits for and how long it may.
"""

from __future__ import annotations

import contextlib
import logging
import math
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from atom_platform.extension.request_record import UNMATCHED, RequestRecord
from atom_platform.metrics.http_metrics import count_aborted
from atom_platform.server._compat_gunicorn import TConn

__all__ = ["Connection", "ConnectionTable", "ResponseSender", "TimeoutQueue", "address_of"]

READ_BYTES: Final = 65_536

SILENT_SECONDS: Final = 30.0  # accepted, and not a byte
HALF_SENT_SECONDS: Final = 10.0  # for the whole of a head; between two pieces of a body
SENDING_SECONDS: Final = 10.0  # for the whole of a response, in however many pieces
LINGER_SECONDS: Final = 2.0  # answered and half closed: closing early would cut the response off

#: Responses that are sent on at once; each may hold a page of its own in memory.
MAX_SENDING: Final = 32

#: Bytes sent to one client in one turn: a copy in the kernel that must not delay probes.
SEND_BYTES: Final = 262_144

TIMEOUT_RESPONSE: Final = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)

log = logging.getLogger("atom_platform.server")


class Connection(TConn):  # type: ignore[misc]  # gunicorn ships no annotations
    """
    gunicorn's connection, with the bytes that its parser has not seen yet.

    Attributes:
        received: Bytes that the accept loop has read from the socket.
        scanned: How many of them have been searched for the end of the head.
        wanted: How many of them make the request complete; 0 while that is not known.
        queue: The queue that it waits in; None while a thread or a response has it.
        unsent: The rest of a response that its client has not read yet.
    """

    def __init__(self, cfg: Any, sock: Any, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        self.received: bytes | bytearray = b""
        self.scanned = 0
        self.wanted = 0
        self.queue: TimeoutQueue | None = None
        self.unsent: Any = None

    def receive(self, max_bytes: int) -> bool:
        """
        Read what has arrived; return False when the client has closed its side.

        Raises:
            BlockingIOError: Nothing has arrived.
            OSError: The connection is broken.
        """
        chunk = self.sock.recv(max_bytes)
        if not self.received:
            self.received = chunk
        else:
            if isinstance(self.received, bytes):
                self.received = bytearray(self.received)
            self.received += chunk
        return bool(chunk)

    def hand_to_parser(self) -> None:
        """Let gunicorn's parser read what was received before it reads the socket."""
        self.init()
        self.parser.unreader.unread(self.take_received())

    def take_received(self) -> bytes:
        """Return all received bytes, and forget them."""
        taken = bytes(self.received)
        self.received, self.scanned, self.wanted = b"", 0, 0
        return taken

    def take_read_ahead(self) -> bytes:
        """Return what the parser has read past the end of the last request."""
        ahead: bytes = self.parser.unreader.take_buffered()
        return ahead


class TimeoutQueue:
    """
    Connections that wait for the same thing and equally long, the oldest first.

    All wait equally long, so the order of arrival is the order of deadlines and nothing is sorted:
    ten thousand idle connections cost one comparison a turn.

    Args:
        seconds: How long a connection may wait.
        on_expiry: Called with a connection past its deadline; it must remove the connection.
    """

    def __init__(self, seconds: float, *, on_expiry: Callable[[Connection], None]) -> None:
        self.seconds = seconds
        self.on_expiry = on_expiry
        self._deadlines: dict[Connection, float] = {}

    def __len__(self) -> int:
        return len(self._deadlines)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._deadlines))

    def add(self, connection: Connection, now: float) -> None:
        """Let *connection* wait from *now*, also when it waits in this or another queue already."""
        if connection.queue is not None:
            del connection.queue._deadlines[connection]
        connection.queue = self
        self._deadlines[connection] = now + self.seconds

    def remove(self, connection: Connection) -> None:
        del self._deadlines[connection]
        connection.queue = None

    def oldest(self) -> Connection | None:
        return next(iter(self._deadlines), None)

    def seconds_to_deadline(self, now: float) -> float:
        """Return the seconds to the next deadline; infinite when no connection waits."""
        return max(0.0, next(iter(self._deadlines.values()), math.inf) - now)

    def expire(self, now: float) -> None:
        """Call `on_expiry` for all connections past their deadline."""
        while (connection := self.oldest()) and self._deadlines[connection] <= now:
            self.on_expiry(connection)

    def cap_deadlines(self, deadline: float) -> None:
        """Let no connection wait beyond *deadline*; one that is added later may."""
        for connection, until in self._deadlines.items():
            self._deadlines[connection] = min(until, deadline)


class ConnectionTable:
    """
    The waiting connections of one worker. Only the accept loop touches them.

    Args:
        worker: Its poller is used and its `nr_conns` kept.
        on_readable: Called with a connection that has something to read; it waits on until moved.
        on_writable: Called with one in `sending` whose client reads on; it waits on likewise.
    """

    def __init__(
        self,
        worker: Any,
        *,
        on_readable: Callable[[Connection], object],
        on_writable: Callable[[Connection], object],
    ) -> None:
        self._worker = worker
        self._poller = worker.poller
        self._on_readable = on_readable
        self._on_writable = on_writable
        self.silent = TimeoutQueue(SILENT_SECONDS, on_expiry=self.drop)
        self.idle = TimeoutQueue(worker.cfg.keepalive, on_expiry=self.drop)
        self.half_heads = TimeoutQueue(HALF_SENT_SECONDS, on_expiry=self._time_out)
        self.half_bodies = TimeoutQueue(HALF_SENT_SECONDS, on_expiry=self._time_out)
        self.sending = TimeoutQueue(SENDING_SECONDS, on_expiry=self.drop)
        self.lingering = TimeoutQueue(LINGER_SECONDS, on_expiry=self.drop)
        #: In the order in which connections are evicted for new ones.
        self._queues = (
            self.lingering,
            self.silent,
            self.idle,
            self.sending,
            self.half_heads,
            self.half_bodies,
        )

    def wait(self, connection: Connection, queue: TimeoutQueue) -> None:
        """Let *connection* wait in *queue* from now on, wherever it was."""
        if connection.queue is None:
            events = selectors.EVENT_WRITE if queue is self.sending else selectors.EVENT_READ
            self._poller.register(connection.sock, events, partial(self._on_event, connection))
        queue.add(connection, time.monotonic())

    def remove(self, connection: Connection) -> None:
        """Take *connection* out of its queue, if it waits in one, and leave it open."""
        if connection.queue is not None:
            self._poller.unregister(connection.sock)
            connection.queue.remove(connection)

    def drop(self, connection: Connection) -> None:
        """Close *connection* now."""
        if connection.queue is self.sending:
            count_aborted("disconnect")
        self.remove(connection)
        self._worker.nr_conns -= 1
        connection.close()

    def linger(self, connection: Connection) -> None:
        """
        Shut down the sending side, and close when the client has closed too.

        Closing a socket with unread bytes resets the connection, and the client may lose the
        response. gunicorn waits for the client right here, on the accept loop.
        """
        try:
            connection.sock.setblocking(False)
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.drop(connection)
            return
        self.wait(connection, self.lingering)
        self._discard(connection)

    def seconds_to_deadlines(self, now: float) -> list[float]:
        """Return the seconds to the next deadline of each queue."""
        return [queue.seconds_to_deadline(now) for queue in self._queues if queue]

    def expire(self, now: float) -> None:
        """End the wait of all connections past their deadline."""
        for queue in self._queues:
            if queue:  # most are empty, and this runs each turn
                queue.expire(now)

    def cap_idle_deadlines(self, deadline: float) -> None:
        """Let no connection without a request wait beyond *deadline*."""
        self.silent.cap_deadlines(deadline)
        self.idle.cap_deadlines(deadline)

    def evict_one(self) -> bool:
        """Close the connection that is most likely of no use; return whether there was one."""
        for queue in self._queues:
            connection = queue.oldest()
            if connection is not None:
                self.drop(connection)
                return True
        return False

    def close(self) -> None:
        """Close all waiting connections."""
        for queue in self._queues:
            for connection in queue:
                self.drop(connection)

    def _on_event(self, connection: Connection, _socket: Any) -> None:
        if connection.queue is self.lingering:
            self._discard(connection)
        elif connection.queue is self.sending:
            self._on_writable(connection)
        elif connection.queue is not None:  # None: dropped earlier in the same batch of events
            self._on_readable(connection)

    def _discard(self, connection: Connection) -> None:
        """Read and forget what a client sends after its last response."""
        try:
            if connection.sock.recv(READ_BYTES):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.drop(connection)

    def _time_out(self, connection: Connection) -> None:
        self._observe_timeout(connection)
        with contextlib.suppress(OSError):
            connection.sock.send(TIMEOUT_RESPONSE)
        self.drop(connection)

    def _observe_timeout(self, connection: Connection) -> None:
        """Count and log a request whose rest did not come; what came may not even be HTTP."""
        observe = getattr(self._worker.log, "observe_request", None)
        if observe is None:
            return
        line = bytes(connection.received[:4096]).partition(b"\r\n")[0].decode("latin-1").split(" ")
        method, target = line[:2] if len(line) > 1 else ("OTHER", "")
        path, address = target.partition("?")[0], address_of(connection.client)
        reason = "the rest of the request did not come"
        try:
            observe(
                RequestRecord(
                    method=method,
                    path=path,
                    endpoint=UNMATCHED,
                    status=408,
                    seconds=0.0,
                    body_bytes=0,
                    remote_addr=address,
                    reason=reason,
                )
            )
        except Exception:
            log.exception("timeout_not_observed")


class ResponseSender:
    """
    Sends the rest of a response as its client reads: a client that does not holds no thread.

    Args:
        connections: Where the connection waits, and is dropped when it takes too long.
        on_sent: Called with a request and whether its whole response was sent.
    """

    def __init__(
        self, connections: ConnectionTable, *, on_sent: Callable[[Any, bool], object]
    ) -> None:
        self._connections = connections
        self._on_sent = on_sent

    def send(self, request: Any, pieces: list[memoryview]) -> None:
        """
        Send *pieces* to the client of *request*, as it reads.

        Beyond `MAX_SENDING` the connection that has waited longest is dropped.
        """
        queue = self._connections.sending
        while len(queue) >= MAX_SENDING and (oldest := queue.oldest()) is not None:
            self._connections.drop(oldest)
        request.connection.unsent = request, pieces
        self._connections.wait(request.connection, queue)

    def continue_sending(self, connection: Connection) -> None:
        """Send one more piece, now that the client has read something."""
        request, pieces = connection.unsent
        try:
            sent = connection.sock.send(pieces[0][:SEND_BYTES])
        except BlockingIOError:
            return
        except OSError:
            self._connections.drop(connection)
            return
        pieces[0] = pieces[0][sent:]
        if not pieces[0]:
            del pieces[0]
        if not pieces:
            connection.unsent = None
            self._connections.remove(connection)
            self._on_sent(request, True)


def address_of(client: Any) -> str:
    """Return the address of a client as REMOTE_ADDR has it."""
    return str(client[0]) if isinstance(client, tuple) else str(client)
