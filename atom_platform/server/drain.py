"""
The drain: readiness says no while the service still works, so that nobody is turned away.

gunicorn closes its listener the moment SIGTERM arrives, and whoever connects before the load
balancer has noticed is refused. With ATOM_DRAIN_SECONDS set, SIGTERM therefore first only marks the
service as draining; gunicorn's own graceful stop follows when the time is over. SIGINT, SIGQUIT and
a second SIGTERM wait for nothing.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import Any

from atom_platform.server.board import BOARD
from atom_platform.server.runfile import DRAIN_SIGNAL

__all__ = ["Drain", "is_draining", "start_draining"]

log = logging.getLogger("atom_platform.server")


def is_draining() -> bool:
    """Return whether this service is on its way out; costs one read of memory."""
    return BOARD.draining


def start_draining() -> None:
    """Mark the service as draining, in every worker at once."""
    BOARD.draining = True


class Drain:
    """
    The arbiter's part of it, installed over gunicorn's signal handling of one arbiter.

    The flag is set by the signal handler, because the arbiter's main loop may be waiting for old
    workers of a reload; everything else happens in the main loop, where logging is safe.
    """

    def __init__(self, arbiter: Any, *, seconds: float) -> None:
        self._arbiter = arbiter
        self._seconds = seconds
        self._began: float | None = None
        self._asked_to_stop = False

    def install(self) -> None:
        """Take over SIGTERM and the request signal; call it after the arbiter's own handlers."""
        arbiter = self._arbiter
        arbiter.handle_term = self.handle_term
        arbiter.handle_rtmin = self.handle_request
        arbiter.handle_alrm = self.handle_end
        for number in (signal.SIGTERM, DRAIN_SIGNAL, signal.SIGALRM):
            signal.signal(number, self._on_signal)

    def install_mark(self) -> None:
        """
        Only mark the service as draining when asked; SIGTERM stays gunicorn's.

        For a version of gunicorn of which nothing is proven. Without a handler the request signal
        would end the arbiter.
        """
        signal.signal(DRAIN_SIGNAL, lambda number, frame: start_draining())

    def handle_term(self) -> None:
        """
        Stop, or begin to drain.

        Raises:
            StopIteration: gunicorn's main loop takes it for "stop gracefully, now".
        """
        remaining = self._remaining_seconds()
        if self._asked_to_stop or remaining <= 0 or self._is_relieved():
            raise StopIteration
        self._asked_to_stop = True
        log.info("drain_started", extra={"drain_seconds": round(remaining, 3)})
        signal.setitimer(signal.ITIMER_REAL, remaining)

    def handle_request(self) -> None:
        """Drain without an end: whoever asked sends SIGTERM when the time has come."""
        log.info("drain_requested", extra={"drain_seconds": self._seconds})

    def handle_end(self) -> None:
        """
        End the drain.

        Raises:
            StopIteration: As `handle_term` does.
        """
        log.info("drain_finished")
        raise StopIteration

    def _on_signal(self, number: int, frame: Any) -> None:
        if os.getpid() != self._arbiter.pid:
            # A worker between its fork and its own handlers: queued here, it would be lost.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        begins = number == DRAIN_SIGNAL or (number == signal.SIGTERM and self._seconds > 0)
        if begins and self._began is None and not self._is_relieved():
            self._began = time.monotonic()
            start_draining()
        self._arbiter.signal(number, frame)

    def _remaining_seconds(self) -> float:
        if self._began is None:
            return 0.0
        return self._began + self._seconds - time.monotonic()

    def _is_relieved(self) -> bool:
        """Return whether another arbiter serves on (SIGUSR2): then only this one goes."""
        return bool(self._arbiter.reexec_pid or self._arbiter.master_pid)
