"""
Where connections wait without costing a thread, and how they leave.

Whoever waits is registered with the poller and sits in one of six rooms, which differ in what is
waited for and how long.
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

from atom_platform.extension.request_record import UNMATCHED, RequestRecord
from atom_platform.metrics.http_metrics import count_aborted
from atom_platform.server.connection import Connection, WaitingRoom, address_of

__all__ = ["Lobby"]

READ_BYTES: Final = 65_536

SILENT_SECONDS: Final = 30.0  # connected, and not a byte
HALF_SENT_SECONDS: Final = 10.0  # for the whole of a head; between two pieces of a body
READING_SECONDS: Final = 10.0  # for the whole of an answer, however many pieces it takes
LINGER_SECONDS: Final = 2.0  # answered and half closed: closing early would cut the answer off

TIMEOUT_ANSWER: Final = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)

log = logging.getLogger("atom_platform.server")


class Lobby:
    """
    The waiting connections of one worker.

    Args:
        worker: Its poller is used and its `nr_conns` kept.
        on_readable: Called with a connection that has something to read; it waits on until moved.
        on_writable: Called with one in `reading` whose client takes more; it waits on likewise.
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
        self._handle = on_readable
        self._handle_writable = on_writable
        self.silent = WaitingRoom(SILENT_SECONDS, on_expiry=self.drop)
        self.idle = WaitingRoom(worker.cfg.keepalive, on_expiry=self.drop)
        self.half_heads = WaitingRoom(HALF_SENT_SECONDS, on_expiry=self._give_up)
        self.half_bodies = WaitingRoom(HALF_SENT_SECONDS, on_expiry=self._give_up)
        self.reading = WaitingRoom(READING_SECONDS, on_expiry=self.drop)
        self.lingering = WaitingRoom(LINGER_SECONDS, on_expiry=self.drop)
        #: In the order in which they make room for newcomers.
        self._rooms = (
            self.lingering,
            self.silent,
            self.idle,
            self.reading,
            self.half_heads,
            self.half_bodies,
        )

    def wait(self, connection: Connection, room: WaitingRoom) -> None:
        """Let *connection* wait in *room* from now on, wherever it was."""
        if connection.room is None:
            events = selectors.EVENT_WRITE if room is self.reading else selectors.EVENT_READ
            self._poller.register(connection.sock, events, partial(self._on_event, connection))
        room.enter(connection, time.monotonic())

    def leave(self, connection: Connection) -> None:
        """Let a thread have *connection*, if it waits."""
        if connection.room is not None:
            self._poller.unregister(connection.sock)
            connection.room.leave(connection)

    def drop(self, connection: Connection) -> None:
        """Close *connection* now."""
        if connection.room is self.reading:
            count_aborted("disconnect")
        self.leave(connection)
        self._worker.nr_conns -= 1
        connection.close()

    def linger(self, connection: Connection) -> None:
        """
        Say that no more will come, and close when the client has closed too.

        Closing over bytes that nobody has read resets the connection, and the client may lose the
        answer. gunicorn waits for the client right here, on the accept loop.
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
        """Return how long until each room's next deadline."""
        return [room.seconds_to_next(now) for room in self._rooms if room]

    def expire(self, now: float) -> None:
        """See out whoever has waited long enough."""
        for room in self._rooms:
            if room:  # mostly nobody is there, and this is asked each turn
                room.expire(now)

    def hurry(self, due: float) -> None:
        """Let nobody who may have nothing to say wait beyond *due*."""
        self.silent.shorten(due)
        self.idle.shorten(due)

    def make_room(self) -> bool:
        """Close the connection that is most likely of no use; return whether there was one."""
        for room in self._rooms:
            connection = room.longest_waiting()
            if connection is not None:
                self.drop(connection)
                return True
        return False

    def close(self) -> None:
        """Close all that wait."""
        for room in self._rooms:
            for connection in room:
                self.drop(connection)

    def _on_event(self, connection: Connection, _socket: Any) -> None:
        if connection.room is self.lingering:
            self._discard(connection)
        elif connection.room is self.reading:
            self._handle_writable(connection)
        elif connection.room is not None:  # else dropped earlier in the same batch of events
            self._handle(connection)

    def _discard(self, connection: Connection) -> None:
        try:
            if connection.sock.recv(READ_BYTES):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.drop(connection)

    def _give_up(self, connection: Connection) -> None:
        self._observe_timeout(connection)
        with contextlib.suppress(OSError):
            connection.sock.send(TIMEOUT_ANSWER)
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
