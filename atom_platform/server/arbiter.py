"""
What we change in gunicorn's arbiter: the drain, the reload, and signals around a fork.

* **Drain.** gunicorn closes its listener when SIGTERM arrives, and clients that connect before the
  load balancer has noticed are refused. With ATOM_DRAIN_SECONDS, SIGTERM first only marks the
  service as draining: readiness is 503 and requests are served. gunicorn's graceful stop follows
  when the time is over. SIGINT, SIGQUIT and a second SIGTERM wait for nothing.
* **Reload.** gunicorn stops the old workers as soon as it has forked the new ones. Until those have
  loaded the application, seconds on a busy machine, no worker would answer, not even a probe. So
  the arbiter waits until the new ones serve.
* **Fork.** A child inherits the arbiter's signal handlers, which only queue the number for a loop
  that never runs in the child. Signals are held until the child has its own handlers; otherwise a
  SIGTERM in between would be lost, and the arbiter would wait for the graceful timeout.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any, Final

from atom_platform.forking import at_fork
from atom_platform.metrics.storage import directory
from atom_platform.server.pidfile import DRAIN_SIGNAL
from atom_platform.server.scoreboard import SCOREBOARD, start_draining

__all__ = [
    "Drain",
    "hold_signals",
    "prepare_reexec",
    "release_signals",
    "wait_for_new_workers_on_reload",
]

#: New workers that hang while they load must not keep the old ones in service for ever.
MAX_RELOAD_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05

STOP_SIGNALS: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}

log = logging.getLogger("atom_platform.server")


class Drain:
    """
    The drain of one arbiter, installed over gunicorn's handling of signals.

    The signal handler marks the service as draining, because the main loop may be waiting for old
    workers of a reload. Everything else happens in the main loop, where logging is safe.

    Args:
        seconds: How long the service goes on after SIGTERM; 0 is gunicorn's own stop.
    """

    def __init__(self, arbiter: Any, *, seconds: float) -> None:
        self._arbiter = arbiter
        self._seconds = seconds
        self._began: float | None = None
        self._asked_to_stop = False

    def install(self) -> None:
        """Handle SIGTERM and the drain signal; call it after the arbiter's own handlers."""
        arbiter = self._arbiter
        arbiter.handle_term = self.handle_term
        arbiter.handle_rtmin = self.on_drain_requested
        arbiter.handle_alrm = self.on_drain_over
        for number in (signal.SIGTERM, DRAIN_SIGNAL, signal.SIGALRM):
            signal.signal(number, self._on_signal)

    def install_mark(self) -> None:
        """
        Only mark the service as draining on the drain signal; SIGTERM stays gunicorn's.

        For a gunicorn of which nothing is proven. Without a handler the signal would end it.
        """
        signal.signal(DRAIN_SIGNAL, lambda number, frame: start_draining())

    def handle_term(self) -> None:
        """
        Stop, or begin to drain.

        Raises:
            StopIteration: gunicorn's main loop then stops gracefully.
        """
        remaining = self._remaining_seconds()
        if self._asked_to_stop or remaining <= 0 or self._is_being_replaced():
            raise StopIteration
        self._asked_to_stop = True
        log.info("drain_started", extra={"drain_seconds": round(remaining, 3)})
        signal.setitimer(signal.ITIMER_REAL, remaining)

    def on_drain_requested(self) -> None:
        """Drain without an end: whoever sent the signal sends SIGTERM later."""
        log.info("drain_requested", extra={"drain_seconds": self._seconds})

    def on_drain_over(self) -> None:
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
        if begins and self._began is None and not self._is_being_replaced():
            self._began = time.monotonic()
            start_draining()
        self._arbiter.signal(number, frame)

    def _remaining_seconds(self) -> float:
        if self._began is None:
            return 0.0
        return self._began + self._seconds - time.monotonic()

    def _is_being_replaced(self) -> bool:
        """Return whether another arbiter serves on (SIGUSR2), so that only this one stops."""
        return bool(self._arbiter.reexec_pid or self._arbiter.master_pid)


def wait_for_new_workers_on_reload(arbiter: Any) -> None:
    """Let *arbiter* end surplus workers only when the youngest ones serve."""
    manage_workers = arbiter.manage_workers

    def manage_workers_once_served() -> None:
        if len(arbiter.WORKERS) > arbiter.num_workers:
            _wait_for_new_workers(arbiter)
        manage_workers()

    arbiter.manage_workers = manage_workers_once_served


def _wait_for_new_workers(arbiter: Any) -> None:
    from atom_platform.server._compat_gunicorn import queued_signals

    deadline = time.monotonic() + MAX_RELOAD_SECONDS
    while time.monotonic() < deadline and STOP_SIGNALS.isdisjoint(queued_signals(arbiter)):
        arbiter.reap_workers()  # raises what ends the arbiter when a worker could not boot
        by_age = sorted(arbiter.WORKERS.values(), key=lambda worker: worker.age)
        new = by_age[-arbiter.num_workers :]
        indexes = [getattr(worker, "atom_index", None) for worker in new]
        if all(index is None or SCOREBOARD.serves(index) for index in indexes):
            return
        time.sleep(POLL_SECONDS)


def prepare_reexec(arbiter: Any) -> None:
    """
    Give the arbiter that is about to be executed (SIGUSR2) what it needs.

    gunicorn starts it with the environment as it was before its configuration ran, so without the
    metrics directory, and executes the first argument again: after `python -m gunicorn` that is a
    file in the middle of a package, which hides the standard library's `http`.
    """
    if directory.VARIABLE in os.environ:
        arbiter.cfg.env_orig[directory.VARIABLE] = os.environ[directory.VARIABLE]
    arguments = arbiter.START_CTX["args"]
    script = Path(arguments[1])  # after the interpreter
    if script.name == "__main__.py":
        arguments[1:2] = ["-m", script.parent.name]


_signals_held = False


def hold_signals() -> None:
    """Hold stop signals from now, before a fork; the parent releases them after it by itself."""
    global _signals_held
    _signals_held = True
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def release_signals() -> None:
    """Deliver held signals; the child calls this when it has lost the arbiter's handlers."""
    global _signals_held
    if _signals_held:
        _signals_held = False
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


at_fork("signals", after_in_parent=release_signals)
