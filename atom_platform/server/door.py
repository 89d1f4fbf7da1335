"""A listener, as the accept loop uses it."""

from __future__ import annotations

import contextlib
import socket
from typing import Any, Final

__all__ = ["Door"]

#: The kernel lets a client in when its request comes, or without one after so long. A worker that
#: takes a connection before there is anything to read has to wait for it in the poller: a quarter
#: of all probes under load, each three times as dear, and the whole first volley of a crowd.
SILENT_SECONDS: Final = 1


class Door:
    """
    Takes connections from *listener*.

    Attributes:
        address: Where it listens.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.address: Any = listener.getsockname()
        self._listener = listener
        self.let_in_with_request()

    def accept(self) -> tuple[socket.socket, Any]:
        """
        Return a connection, in blocking mode, and its client's address.

        Raises:
            OSError: There is none, or no descriptor for it.
        """
        sock, client = self._listener.accept()
        if sock.gettimeout() is not None:  # socket.setdefaulttimeout: it would wait where it reads
            sock.setblocking(True)
        return sock, client

    def let_in_with_request(self) -> None:
        """Let clients in when their request is there, for all workers: it is their listener too."""
        self._defer(SILENT_SECONDS)

    def let_all_in(self) -> None:
        """Let clients in when they come: who stands outside when the last worker goes is reset."""
        self._defer(0)

    def _defer(self, seconds: int) -> None:
        with contextlib.suppress(OSError):  # a Unix socket has no such thing
            self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, seconds)
