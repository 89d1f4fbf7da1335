"""
gunicorn's hooks: the life of the arbiter and of its workers, told to the rest of the platform.

Standard library only when imported: gunicorn.conf.py does that before the metrics directory exists.
An exception in `child_exit`, `pre_fork`, `post_fork`, `when_ready` or `nworkers_changed` would end
the whole server, so none leaves this module.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import os
import platform
import signal
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, Final, ParamSpec

from atom_platform import __version__
from atom_platform.metrics.storage import directory
from atom_platform.server import exits, runfile, succession
from atom_platform.server.board import BOARD
from atom_platform.server.configuration import check_addresses, prepare
from atom_platform.server.drain import Drain, is_draining
from atom_platform.server.forking import hold_signals, release_signals
from atom_platform.server.surrender import can_be_replaced

__all__ = [
    "child_exit",
    "on_exit",
    "on_starting",
    "post_fork",
    "post_worker_init",
    "pre_exec",
    "pre_fork",
    "pre_request",
    "when_ready",
    "worker_exit",
]

P = ParamSpec("P")

#: A client that sends nothing for this long in the middle of a request gives its thread back. The
#: kernel hands the option on from the listener to every connection that it accepts.
READ_TIMEOUT_SECONDS: Final = 10
WRITE_TIMEOUT_SECONDS: Final = 30

log = logging.getLogger("atom_platform.server")

_reported: set[str] = set()
_beaten_at = 0.0


def guarded(hook: Callable[P, None]) -> Callable[P, None]:
    """Keep what *hook* raises from gunicorn: logged once a hook, counted every time."""

    @functools.wraps(hook)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            hook(*args, **kwargs)
        except Exception:
            _report(hook.__name__)

    return run


def _report(name: str) -> None:
    if name not in _reported:
        _reported.add(name)
        log.exception("hook_failed", extra={"hook": name})
    with contextlib.suppress(Exception):
        from atom_platform.metrics import instruments

        instruments.count_metric_error("hook")


@guarded
def on_starting(server: Any) -> None:
    """The log exists, and this process is the arbiter for good (`--daemon` has forked)."""
    check_addresses(server.cfg.address)
    server.atom_exits = exits.ExitWatch(server)
    server.atom_exits.install()
    directory.become_arbiter()
    from atom_platform.metrics import instruments

    if prepared := directory.prepared():
        instruments.report_directory(prepared)
    _beat_with(server, instruments.heartbeat)


def _beat_with(server: Any, heartbeat: Callable[[], None]) -> None:
    """Have the arbiter look after its own metric files once a turn of its loop, about a second."""
    look_for_silent_workers = server.murder_workers

    @guarded
    def beat() -> None:
        heartbeat()

    def turn() -> None:
        look_for_silent_workers()
        beat()

    server.murder_workers = turn


@guarded
def when_ready(server: Any) -> None:
    """The listeners are open, no worker is forked yet."""
    Drain(server, seconds=prepare().drain_seconds).install()
    succession.install(server)
    _bound_reads(server.LISTENERS)
    _warn_without_health_lane(server)
    server.atom_ports = _ports(server.LISTENERS)
    runfile.announce(server.atom_ports, drain_seconds=prepare().drain_seconds)
    if server.atom_ports:
        from atom_platform.logs.levels import watch_levels

        watch_levels(runfile.levels_path(server.atom_ports[0]))


@guarded
def pre_fork(server: Any, worker: Any) -> None:
    hold_signals()
    worker.atom_seat = BOARD.take_seat()


@guarded
def post_fork(server: Any, worker: Any) -> None:
    """
    Forget the arbiter's signal handlers, which would only queue for a loop that never runs here.

    gunicorn installs the worker's own a moment later; a SIGTERM in between must not be lost.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(runfile.DRAIN_SIGNAL, signal.SIG_IGN)
    release_signals()


@guarded
def post_worker_init(worker: Any) -> None:
    """The worker has loaded the application and is about to serve."""
    if worker.cfg.reuse_port:
        _bound_reads(worker.sockets)
    can_be_replaced()
    from atom_platform.metrics import instruments, process_metrics

    instruments.worker_started()
    # gevent's worker has sockets of gevent's there, not gunicorn's wrappers of them.
    process_metrics.watch_listeners([getattr(each, "sock", each) for each in worker.sockets])
    instruments.set_threads(worker.cfg.threads)
    instruments.set_app_info(__version__, platform.python_version(), prepare().revision)
    extension = getattr(worker.wsgi, "extensions", {}).get("atom")
    worker.log.observe_request = getattr(extension, "observe_request", None)
    if extension is not None:
        # Now, or the first to ask meets a worker that knows nothing, perhaps during a fault.
        extension.health.start()
    if (seat := getattr(worker, "atom_seat", None)) is not None:
        BOARD.beat(seat)  # whatever its class: it serves from here on
    gc.collect()
    gc.freeze()  # what is loaded stays: searching it for garbage would stop every thread for 50 ms


@guarded
def pre_request(worker: Any, request: Any) -> None:
    """While draining, every answer says `Connection: close`, whatever the worker class."""
    if is_draining():
        # Not `cfg.keepalive = 0`: it would also cut off who has just been told to stay.
        request.force_close()
    if not hasattr(worker, "turnstile"):  # the health lane's loop sees to it by itself
        _heartbeat()


@guarded
def worker_exit(server: Any, worker: Any) -> None:
    """In the worker as its last act, or in the arbiter when the worker has vanished."""
    if os.getpid() == server.pid:
        BOARD.leave_seat(getattr(worker, "atom_seat", None))
    else:
        exits.leave_word(worker)


@guarded
def child_exit(server: Any, worker: Any) -> None:
    """In the arbiter, once the worker's process has been reaped."""
    try:
        reason = server.atom_exits.reason(worker)
        log.info("worker_exited", extra={"worker_pid": worker.pid, "reason": reason})
        from atom_platform.metrics import instruments

        instruments.count_worker_exit(reason)
    finally:
        BOARD.leave_seat(getattr(worker, "atom_seat", None))


@guarded
def pre_exec(server: Any) -> None:
    """SIGUSR2: the new arbiter is about to be executed."""
    succession.hand_over(server)


@guarded
def on_exit(server: Any) -> None:
    runfile.withdraw(getattr(server, "atom_ports", ()))


def _heartbeat() -> None:
    """Once a second at most, for worker classes whose loop is gunicorn's own."""
    global _beaten_at
    now = time.monotonic()
    if now - _beaten_at >= 1:
        _beaten_at = now
        from atom_platform.metrics import instruments

        instruments.heartbeat()


def _ports(listeners: list[Any]) -> list[int]:
    addresses = [listener.getsockname() for listener in listeners]
    return [address[1] for address in addresses if isinstance(address, tuple)]


def _bound_reads(listeners: list[Any]) -> None:
    for listener in listeners:
        for option, seconds in (
            (socket.SO_RCVTIMEO, READ_TIMEOUT_SECONDS),
            (socket.SO_SNDTIMEO, WRITE_TIMEOUT_SECONDS),
        ):
            listener.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, 0))


def _warn_without_health_lane(server: Any) -> None:
    from atom_platform.server.worker import HealthLaneWorker

    if not issubclass(server.worker_class, HealthLaneWorker):
        log.warning(
            "health_lane_off",
            extra={
                "worker_class": server.cfg.worker_class_str,
                "consequence": "probes wait behind requests: a busy service may be restarted",
            },
        )
