"""The threads of a worker: gunicorn parses a request in one, calls the application and answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from atom_platform.metrics.instruments import set_threads_busy
from atom_platform.server.connection import Connection
from atom_platform.server.heads import Kind
from atom_platform.server.lobby import Lobby
from atom_platform.server.pool import ThreadPool

__all__ = ["Threads"]

HEALTH_THREADS: Final = 8


class Threads:
    """
    Who serves which kind of request.

    Args:
        worker: Its `tpool` serves ordinary requests.
        lobby: Where a connection waits before and after.
        opaque: Whether only gunicorn can make sense of the bytes.
        on_ahead: Called with a connection of which more than one request has been read.

    Attributes:
        busy: Ordinary requests that have a thread or wait for one.
    """

    def __init__(
        self,
        worker: Any,
        lobby: Lobby,
        *,
        opaque: bool,
        on_ahead: Callable[[Connection], object],
    ) -> None:
        self._worker = worker
        self._lobby = lobby
        self._opaque = opaque
        self._on_ahead = on_ahead
        self._defer = worker.method_queue.defer
        self._pools: dict[Kind, ThreadPool] = {
            Kind.LIVENESS: ThreadPool(1, name="liveness"),
            Kind.HEALTH: ThreadPool(HEALTH_THREADS, name="health"),
            Kind.ORDINARY: worker.tpool,
        }
        self.busy = 0

    def serve(self, connection: Connection, kind: Kind) -> None:
        """Give *connection*, whose next request is of *kind*, to a thread."""
        self._lobby.leave(connection)
        if kind is Kind.ORDINARY:
            self._count(+1)
        try:
            self._pools[kind].submit(self._serve, connection, kind)
        except RuntimeError as error:  # "can't start new thread": there may be one in a moment
            if kind is Kind.ORDINARY:
                self._count(-1)
            if self._opaque:
                self._lobby.drop(connection)
                return
            self._worker.handle_error(None, connection.sock, connection.client, error)
            self._lobby.linger(connection)

    def close(self) -> None:
        """Let the threads go."""
        for pool in self._pools.values():
            pool.shutdown()

    def _serve(self, connection: Connection, kind: Kind) -> None:
        """In a thread: let gunicorn parse the request, call the application and answer."""
        keep = False
        try:
            if self._opaque:
                connection.data_ready = True
            else:
                connection.hand_to_parser()
            keep = self._worker.handle(connection)
        finally:
            self._defer(self._served, connection, kind, keep)

    def _served(self, connection: Connection, kind: Kind, keep: bool) -> None:
        """Back on the loop: the connection waits for its next request, or goes."""
        if kind is Kind.ORDINARY:
            self._count(-1)
        if not keep:
            self._lobby.linger(connection)
            return
        try:
            connection.sock.setblocking(False)
        except OSError:
            self._lobby.drop(connection)
            return
        ahead = connection.parser.unreader.take_buffered()
        if self._opaque and ahead:
            connection.parser.unreader.unread(ahead)
            self.serve(connection, Kind.ORDINARY)
        elif ahead:
            connection.received = ahead
            self._on_ahead(connection)
        else:
            self._lobby.wait(connection, self._lobby.idle)

    def _count(self, change: int) -> None:
        self.busy += change
        set_threads_busy(min(self.busy, self._worker.cfg.threads))
        self._worker.busy_changed()
