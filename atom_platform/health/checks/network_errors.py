"""Why another host cannot be reached: one of a fixed set of codes and sentences."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl

from atom_platform.health.check import CheckFailed

__all__ = ["network_failure", "shut_down"]

UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)


def network_failure(what: str, error: BaseException) -> CheckFailed:
    """Return the exception of a check of *what* after *error*; its text repeats nothing of it."""
    text, code = _describe(error)
    return CheckFailed(f"{what} {text}", code=code)


def _describe(error: BaseException) -> tuple[str, str]:
    if isinstance(error, TimeoutError):
        return "timeout", "timeout"
    if isinstance(error, socket.gaierror):
        return "host not resolvable", "host_not_resolvable"
    if isinstance(error, ssl.SSLError):
        return "connection could not be secured", "tls_failed"
    if isinstance(error, ConnectionRefusedError):
        return "refused the connection", "refused"
    if isinstance(error, ConnectionError):
        return "connection lost", "connection_lost"
    if isinstance(error, OSError) and error.errno in UNREACHABLE:
        return "not reachable", "unreachable"
    return "not accessible", "unhealthy"


def shut_down(connected: socket.socket | None) -> None:
    """End the wait of another thread on *connected*; closing the socket would not wake it."""
    if connected is not None:
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)
