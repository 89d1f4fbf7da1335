"""
A reload lets the old workers go once the new ones serve, not while they still import.

gunicorn tells the old ones to stop as soon as it has forked their successors. Until those have
loaded the application, seconds on a busy machine, nobody would answer, not even a probe.
"""

from __future__ import annotations

import queue
import signal
import time
from typing import Any, Final

from atom_platform.server.board import BOARD

__all__ = ["install"]

#: A successor that hangs while it loads must not keep the old code in service for ever.
MOST_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05

STOPS: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}


def install(server: Any) -> None:
    """Have *server* wait for the youngest workers before it ends those beyond their number."""
    manage_workers = server.manage_workers

    def manage_once_served() -> None:
        if len(server.WORKERS) > server.num_workers:
            _wait_for_successors(server)
        manage_workers()

    server.manage_workers = manage_once_served


def _wait_for_successors(server: Any) -> None:
    deadline = time.monotonic() + MOST_SECONDS
    while time.monotonic() < deadline and not _told_to_stop(server):
        server.reap_workers()  # raises what ends the arbiter when one could not boot
        youngest = sorted(server.WORKERS.values(), key=lambda worker: worker.age)
        seats = [getattr(worker, "atom_seat", None) for worker in youngest[-server.num_workers :]]
        if all(seat is None or BOARD.serves(seat) for seat in seats):
            return
        time.sleep(POLL_SECONDS)


def _told_to_stop(server: Any) -> bool:
    """Return whether such a signal waits for the arbiter's loop, and leave it there."""
    waiting = []
    while True:
        try:
            waiting.append(server.SIG_QUEUE.get_nowait())
        except queue.Empty:
            break
    for number in waiting:
        server.SIG_QUEUE.put_nowait(number)
    return not STOPS.isdisjoint(waiting)
