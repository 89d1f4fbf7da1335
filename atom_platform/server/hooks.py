"""
gunicorn's hooks: what the platform does when the arbiter or a worker starts, serves and ends.

Standard library only when imported: gunicorn.conf.py runs before the metrics directory exists. An
exception in `child_exit`, `pre_fork`, `post_fork` or `when_ready` would end the
whole server, so none leaves this module.
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
from typing import TYPE_CHECKING, Any, Final, ParamSpec

from atom_platform import __version__
from atom_platform.metrics.storage import directory
from atom_platform.server import pidfile
from atom_platform.server.arbiter import (
    Drain,
    hold_signals,
    prepare_reexec,
    release_signals,
    wait_for_new_workers_on_reload,
)
from atom_platform.server.config import check_addresses, prepare
from atom_platform.server.scoreboard import SCOREBOARD, is_draining
from atom_platform.server.worker_exits import ExitRecorder, mark_supervised, record_exit_code

if TYPE_CHECKING:
    from atom_platform.server._compat_gunicorn import Proof

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
_heartbeat_at = 0.0


def guarded(hook: Callable[P, None]) -> Callable[P, None]:
    """Catch what *hook* raises: logged once for each hook, counted every time."""

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
    """The log exists, and this process stays the arbiter: `--daemon` has forked."""
    from atom_platform.server._compat_gunicorn import Feature, report_features

    report_features(server.log)
    check_addresses(server.cfg.address)
    server.atom_exits = ExitRecorder(server)
    if _proof().holds(Feature.EXITS):
        server.atom_exits.install()
    directory.become_arbiter()
    from atom_platform.metrics import instruments

    if prepared := directory.prepared():
        instruments.report_directory(prepared)
    if _proof().holds(Feature.ARBITER_METRICS):
        _heartbeat_with(server, instruments.heartbeat)


def _proof() -> Proof:
    from atom_platform.server._compat_gunicorn import proof

    return proof()


def _heartbeat_with(server: Any, heartbeat: Callable[[], None]) -> None:
    """Let the arbiter look after its own metric files in each turn of its loop, about 1 s."""
    murder_workers = server.murder_workers

    @guarded
    def beat() -> None:
        heartbeat()

    def murder_workers_and_beat() -> None:
        murder_workers()
        beat()

    server.murder_workers = murder_workers_and_beat


@guarded
def when_ready(server: Any) -> None:
    """The listeners are open, no worker is forked yet."""
    from atom_platform.server._compat_gunicorn import Feature

    found = _proof()
    drain = Drain(server, seconds=prepare().drain_seconds)
    if found.holds(Feature.DRAIN):
        drain.install()
    else:
        drain.install_mark()
    if found.holds(Feature.RELOAD):
        wait_for_new_workers_on_reload(server)
    listeners = getattr(server, "LISTENERS", [])
    if found.read:
        _set_socket_timeouts(listeners)
    if found.holds(Feature.WORKER):
        _warn_without_fast_path(server)
    server.atom_ports = _ports(listeners)
    pidfile.write(server.atom_ports, drain_seconds=prepare().drain_seconds)
    if server.atom_ports:
        from atom_platform.logs.levels import watch_levels

        watch_levels(pidfile.levels_path(server.atom_ports[0]))


@guarded
def pre_fork(server: Any, worker: Any) -> None:
    if _holds_signals():
        hold_signals()
    worker.atom_index = SCOREBOARD.assign_index()


@guarded
def post_fork(server: Any, worker: Any) -> None:
    """
    Remove the arbiter's signal handlers, which would only queue for a loop that never runs here.

    gunicorn installs the worker's own a moment later; a SIGTERM in between must not be lost.
    """
    signal.signal(pidfile.DRAIN_SIGNAL, signal.SIG_IGN)
    if _holds_signals():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        release_signals()


def _holds_signals() -> bool:
    from atom_platform.server._compat_gunicorn import Feature

    return _proof().holds(Feature.BOOT_SIGNALS)


@guarded
def post_worker_init(worker: Any) -> None:
    """The worker has loaded the application and is about to serve."""
    sockets, read = getattr(worker, "sockets", []), _proof().read
    if read and worker.cfg.reuse_port:
        _set_socket_timeouts(sockets)
    mark_supervised()
    from atom_platform.metrics import instruments, process_metrics

    instruments.worker_started()
    # gevent's worker has sockets of gevent's there, not gunicorn's wrappers of them.
    process_metrics.watch_listeners([getattr(each, "sock", each) for each in sockets])
    instruments.set_threads(worker.cfg.threads)
    instruments.set_app_info(__version__, platform.python_version(), prepare().revision)
    extension = getattr(getattr(worker, "wsgi", None), "extensions", {}).get("atom")
    logger: Any = getattr(worker, "log", None)
    if logger is not None:
        logger.observe_request = getattr(extension, "observe_request", None)
    if extension is not None:
        # Now: otherwise the first probe meets a worker without results, perhaps during a fault.
        extension.health.start()
    if (index := getattr(worker, "atom_index", None)) is not None:
        SCOREBOARD.heartbeat(index)  # whatever its class: it serves from here on
    gc.collect()
    gc.freeze()  # what is loaded stays: a search of it would stop every thread for 50 ms


@guarded
def pre_request(worker: Any, request: Any) -> None:
    """During a drain, every response says `Connection: close`, whatever the worker class."""
    if is_draining():
        # Not `cfg.keepalive = 0`: it would also end connections just promised to stay open.
        getattr(request, "force_close", lambda: None)()
    if not hasattr(worker, "accept_balancer"):  # our worker's loop does it by itself
        _heartbeat()


@guarded
def worker_exit(server: Any, worker: Any) -> None:
    """In the worker as its last act, or in the arbiter when the process is gone."""
    if os.getpid() == getattr(server, "pid", None):
        SCOREBOARD.release_index(getattr(worker, "atom_index", None))
    else:
        record_exit_code(worker)


@guarded
def child_exit(server: Any, worker: Any) -> None:
    """In the arbiter, once the worker's process has been reaped."""
    try:
        reason = server.atom_exits.reason(worker)
        log.info("worker_exited", extra={"worker_pid": worker.pid, "reason": reason})
        from atom_platform.metrics import instruments

        instruments.count_worker_exit(reason)
    finally:
        SCOREBOARD.release_index(getattr(worker, "atom_index", None))


@guarded
def pre_exec(server: Any) -> None:
    """SIGUSR2: the new arbiter is about to be executed."""
    from atom_platform.server._compat_gunicorn import Feature

    if _proof().holds(Feature.REEXEC):
        prepare_reexec(server)


@guarded
def on_exit(server: Any) -> None:
    pidfile.remove(getattr(server, "atom_ports", ()))


def _heartbeat() -> None:
    """Once a second at most, for worker classes whose loop is gunicorn's own."""
    global _heartbeat_at
    now = time.monotonic()
    if now - _heartbeat_at >= 1:
        _heartbeat_at = now
        from atom_platform.metrics import instruments

        instruments.heartbeat()


def _ports(listeners: list[Any]) -> list[int]:
    addresses = [listener.getsockname() for listener in listeners]
    return [address[1] for address in addresses if isinstance(address, tuple)]


def _set_socket_timeouts(listeners: list[Any]) -> None:
    for listener in listeners:
        for option, seconds in (
            (socket.SO_RCVTIMEO, READ_TIMEOUT_SECONDS),
            (socket.SO_SNDTIMEO, WRITE_TIMEOUT_SECONDS),
        ):
            listener.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, 0))


def _warn_without_fast_path(server: Any) -> None:
    from atom_platform.server.worker import ProbeThreadWorker

    if not issubclass(server.worker_class, ProbeThreadWorker):
        log.warning(
            "probe_fast_path_disabled",
            extra={
                "worker_class": server.cfg.worker_class_str,
                "consequence": "probes wait behind requests: a busy service may be restarted",
            },
        )
