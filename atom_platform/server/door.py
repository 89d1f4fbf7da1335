"""A listener, as the accept loop uses it."""

from __future__ import annotations

import socket
from typing import Any

__all__ = ["Door"]


class Door:
    """
    Takes connections from *listener*.

    `socket.accept` asks for the listener's family and type each time, by way of two enumerations:
    a fifth of what a liveness request costs in Python.

    Attributes:
        address: Where it listens.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.address: Any = listener.getsockname()
        self._accept = listener._accept  # type: ignore[attr-defined]  # what `accept` calls
        self._kind = int(listener.family), int(listener.type), listener.proto

    def accept(self) -> tuple[socket.socket, Any]:
        """
        Return a connection, in blocking mode, and its client's address.

        Raises:
            OSError: There is none, or no descriptor for it.
        """
        fd, client = self._accept()
        return socket.socket(*self._kind, fileno=fd), client
