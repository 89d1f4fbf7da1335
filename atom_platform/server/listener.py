"""
How a worker accepts connections: a listening socket, and the balance between busy workers.

All workers poll the same listening sockets, and none knows what a connection will ask for before it
has accepted it.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from atom_platform.server.scoreboard import SCOREBOARD

__all__ = ["ACCEPT_BACKOFF_SECONDS", "AcceptBalancer", "Listener"]

#: The kernel hands a connection over when its first bytes arrive, or without any after so long.
#: Otherwise a quarter of all probes under load would have to wait in the poller, at three times the
#: cost of one that is read when it is accepted.
DEFER_ACCEPT_SECONDS: Final = 1

#: Long enough for another worker to wake and accept, short against liveness's 10 ms.
ACCEPT_BACKOFF_SECONDS: Final = 0.004

#: A worker may be slow to wake on a crowded machine. A probe can wait so long; an ordinary request
#: that is accepted too early waits for a busy thread of this worker.
MAX_BACKOFF_SECONDS: Final = 0.05


class Listener:
    """
    A listening socket of gunicorn's. All workers share it, its options too.

    Attributes:
        address: Where it listens.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.address: Any = listener.getsockname()
        self._listener = listener
        self.set_defer_accept(True)

    def accept(self) -> tuple[socket.socket, Any]:
        """
        Return a connection and its client's address.

        Raises:
            OSError: No connection waits, or no descriptor is left for it.
        """
        return self._listener.accept()

    def set_defer_accept(self, defer: bool) -> None:
        """
        Let the kernel keep a new connection until its first bytes arrive, or hand it over at once.

        Connections that are still kept when the last worker closes the listener are reset.
        """
        seconds = DEFER_ACCEPT_SECONDS if defer else 0
        with contextlib.suppress(OSError):  # a Unix socket has no such option
            self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, seconds)


class AcceptBalancer:
    """
    Lets a worker without a free thread leave new connections to one that has a free thread.

    Such a worker does not accept for a moment, as long as the accept loop of another worker with a
    free thread is seen to run. When none runs, because it hangs or was stopped, the busy worker
    accepts after all: the connection may carry a probe.

    Args:
        index: The worker's index on the scoreboard; None for a worker started without our hooks,
            which then accepts whatever comes.
        clock: Returns monotonic seconds.
    """

    def __init__(self, index: int | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._index = index
        self._clock = clock
        self._yielded_at: float | None = None

    def heartbeat(self) -> None:
        """Publish that this worker's accept loop runs."""
        if self._index is not None:
            SCOREBOARD.heartbeat(self._index)

    def set_free_thread(self, free: bool) -> None:
        """Publish whether this worker has a free request thread."""
        if self._index is not None:
            SCOREBOARD.set_free_thread(self._index, free)

    def should_yield(self) -> bool:
        """Return whether another worker will accept what this one, without a free thread, sees."""
        if self._index is None:
            return False
        others = SCOREBOARD.others_with_free_thread(self._index)
        if not others:
            return False
        now = self._clock()
        if self._yielded_at is None or SCOREBOARD.heartbeat_since(others, self._yielded_at):
            self._yielded_at = now
        return now - self._yielded_at < MAX_BACKOFF_SECONDS
