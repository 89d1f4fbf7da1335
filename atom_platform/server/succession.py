"""
How workers and arbiters follow each other.

A reload lets the old workers go once the new ones serve, not while they still import.

gunicorn tells the old ones to stop as soon as it has forked their successors. Until those have
loaded the application, seconds on a busy machine, nobody would answer, not even a probe.
"""

from __future__ import annotations

import os
import queue
import signal
import time
from pathlib import Path
from typing import Any, Final

from atom_platform.metrics.storage import directory
from atom_platform.server.board import BOARD

__all__ = ["hand_over", "install"]

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


def hand_over(server: Any) -> None:
    """
    Give the arbiter that is about to be executed what it needs.

    gunicorn starts it with the environment as it was before its configuration ran, hence without
    the metrics directory, and executes the first argument again: after `python -m gunicorn` that is
    a file in the middle of a package, which hides the standard library's `http`.
    """
    if directory.VARIABLE in os.environ:
        server.cfg.env_orig[directory.VARIABLE] = os.environ[directory.VARIABLE]
    arguments = server.START_CTX["args"]
    script = Path(arguments[1])  # after the interpreter
    if script.name == "__main__.py":
        arguments[1:2] = ["-m", script.parent.name]


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
