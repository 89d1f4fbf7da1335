"""A connection between requests, and the waiting rooms it may sit in."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

from atom_platform.server._compat_gunicorn import TConn

__all__ = ["AT_ONCE", "Connection", "WaitingRoom", "address_of"]

#: A number, because an enumeration has to be asked for its own each time.
AT_ONCE: Final = int(socket.MSG_DONTWAIT)


class Connection(TConn):  # type: ignore[misc]  # gunicorn ships no annotations
    """
    gunicorn's connection, with the bytes that no parser has seen yet.

    Attributes:
        received: Read from the socket by the accept loop.
        scanned: How many of them have been searched for the end of the head.
        wanted: How many of them make the request whole; 0 while that is not known.
        room: Where it waits; None while a thread has it.
        unsent: What its client has not taken yet, while it is in the room for that.
    """

    def __init__(self, cfg: Any, sock: Any, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        self.received: bytes | bytearray = b""
        self.scanned = 0
        self.wanted = 0
        self.room: WaitingRoom | None = None
        self.unsent: Any = None

    def receive(self, most_bytes: int) -> bool:
        """
        Take in what has arrived; return False when the client has closed its side.

        Raises:
            BlockingIOError: Nothing has arrived.
            OSError: The connection is broken.
        """
        chunk = self.sock.recv(most_bytes)
        if not self.received:
            self.received = chunk
        else:
            if isinstance(self.received, bytes):
                self.received = bytearray(self.received)
            self.received += chunk
        return bool(chunk)

    def take(self) -> bytes:
        """Return all that was received, and forget it."""
        taken = bytes(self.received)
        self.received, self.scanned, self.wanted = b"", 0, 0
        return taken

    def hand_to_parser(self) -> None:
        """Let gunicorn's parser read what was received before it reads the socket."""
        self.init()
        self.parser.unreader.unread(self.take())


class WaitingRoom:
    """
    Connections that wait for the same thing and equally long, the longest waiting first.

    Everybody waits equally long, so entering order is leaving order, and nothing is ever sorted:
    ten thousand idle connections cost one comparison a turn.
    """

    def __init__(self, seconds: float, *, on_expiry: Callable[[Connection], None]) -> None:
        self.seconds = seconds
        self.on_expiry = on_expiry
        self._due: dict[Connection, float] = {}

    def __len__(self) -> int:
        return len(self._due)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._due))

    def enter(self, connection: Connection, now: float) -> None:
        """Let *connection* wait from *now*, also when it is waiting here already."""
        if connection.room is not None:
            del connection.room._due[connection]
        connection.room = self
        self._due[connection] = now + self.seconds

    def leave(self, connection: Connection) -> None:
        del self._due[connection]
        connection.room = None

    def longest_waiting(self) -> Connection | None:
        return next(iter(self._due), None)

    def seconds_to_next(self, now: float) -> float:
        """Return how long until somebody has waited enough; for ever when nobody waits."""
        return max(0.0, next(iter(self._due.values()), math.inf) - now)

    def expire(self, now: float) -> None:
        """Call `on_expiry`, which must see them out, for all that have waited enough."""
        while (connection := self.longest_waiting()) and self._due[connection] <= now:
            self.on_expiry(connection)

    def shorten(self, due: float) -> None:
        """Let nobody wait beyond *due*; later arrivals are the caller's business."""
        for connection, until in self._due.items():
            self._due[connection] = min(until, due)


def address_of(client: Any) -> str:
    """Return the address of a client as REMOTE_ADDR has it."""
    return str(client[0]) if isinstance(client, tuple) else str(client)
