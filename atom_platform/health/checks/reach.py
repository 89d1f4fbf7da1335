"""What may be said about another host that cannot be reached: one of a fixed set of sentences."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl

__all__ = ["hang_up", "sentence_for"]

UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)


def sentence_for(what: str, error: BaseException) -> str:
    """Return the sentence about *what* that describes *error*; it holds nothing else of it."""
    if isinstance(error, TimeoutError):
        return f"{what} timeout"
    if isinstance(error, socket.gaierror):
        return f"{what} host not resolvable"
    if isinstance(error, ssl.SSLError):
        return f"{what} connection could not be secured"
    if isinstance(error, ConnectionRefusedError):
        return f"{what} refused the connection"
    if isinstance(error, ConnectionError):
        return f"{what} connection lost"
    if isinstance(error, OSError) and error.errno in UNREACHABLE:
        return f"{what} not reachable"
    return f"{what} not accessible"


def hang_up(connected: socket.socket | None) -> None:
    """End what another thread waits for on *connected*; closing it would wake nobody."""
    if connected is not None:
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)
