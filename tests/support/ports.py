"""TCP ports that no other test process, and no outgoing connection, takes meanwhile."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO, Final

__all__ = ["free_port"]

#: Below the range from which Linux takes the ports of outgoing connections (32768 and up).
_PORTS: Final = range(15_000, 32_000)
#: Ports of this process; its own record locks never block it.
_taken: Final[set[int]] = set()
_locks: IO[bytes] | None = None


def free_port() -> int:
    """
    Return a port of loopback that nobody listens on, reserved until this process ends.

    The reservation is a record lock on one byte of a file that all test processes of this user
    share. Two test runs side by side never get the same port, and the kernel frees the ports of a
    process that was killed.

    Raises:
        RuntimeError: A thousand ports in a row were taken.
    """
    for port in random.choices(_PORTS, k=1000):
        if port not in _taken and _reserve(port) and _unused(port):
            return port
    raise RuntimeError("no port is free")


def _reserve(port: int) -> bool:
    """Return whether this process got the lock; it keeps those of ports that are in use too."""
    global _locks
    if _locks is None:
        path = Path(tempfile.gettempdir()) / f"atom-test-ports-{os.geteuid()}"
        path.touch(mode=0o600)
        _locks = path.open("r+b")
    try:
        fcntl.lockf(_locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _taken.add(port)
    return True


def _unused(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
