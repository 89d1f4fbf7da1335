"""
Every private name of gunicorn that the server uses, and the proof that each is as it was read.

gunicorn promises its settings and hooks, nothing more. `proof()` compares the installed version
with those that were read, then asks gunicorn's classes for each name, signature and behaviour that
the server relies on. A feature without proof is off: gunicorn's own behaviour stands in its place,
and `report_features` logs one WARNING. Read again, and add to `VERSIONS_READ`, when gunicorn
releases a minor version.
"""

from __future__ import annotations

import enum
import functools
import importlib
import inspect
import logging
import os
import queue
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import gunicorn

__all__ = [
    "PLAIN_LOGGER",
    "PLAIN_WORKER",
    "SERVER",
    "VERSIONS_READ",
    "Feature",
    "LimitRequestHeaders",
    "Proof",
    "TConn",
    "ThreadWorker",
    "arbiter_module",
    "bind_setting",
    "http_date",
    "parse_address",
    "proof",
    "prove",
    "queued_signals",
    "report_features",
    "validate_list_string",
]

#: Major and minor versions whose source was read.
VERSIONS_READ: Final = ((26, 2), (27, 0))

#: What serves where ours is not proven.
PLAIN_WORKER: Final = "gthread"
PLAIN_LOGGER: Final = "gunicorn.glogging.Logger"

log = logging.getLogger("atom_platform.server")


def _find(module: str, name: str, default: Any) -> Any:
    """Return a name of gunicorn, or *default*: an import error would stop the service."""
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return default


ThreadWorker: Any = _find("gunicorn.workers.gthread", "ThreadWorker", object)
TConn: Any = _find("gunicorn.workers.gthread", "TConn", object)
LimitRequestHeaders: Any = _find("gunicorn.http.errors", "LimitRequestHeaders", ValueError)
SERVER: Final[str] = getattr(gunicorn, "SERVER", "gunicorn")
http_date: Any = _find("gunicorn.util", "http_date", None)
parse_address: Any = _find("gunicorn.util", "parse_address", None)
validate_list_string: Any = _find("gunicorn.config", "validate_list_string", None)
bind_setting: Any = _find("gunicorn.config", "Bind", None)
arbiter_module: Any = _find("gunicorn", "arbiter", None) or _find("gunicorn.arbiter", "Arbiter", 0)


class Feature(enum.Enum):
    """What needs private names of gunicorn; the value tells an operator what goes without."""

    LOGGER = "gunicorn's own lines are JSON"
    WORKER = "probes and scrapes are answered while all request threads are busy"
    DRAIN = "SIGTERM drains for ATOM_DRAIN_SECONDS"
    RELOAD = "a reload keeps the old workers until the new ones serve"
    REEXEC = "SIGUSR2 keeps the metrics directory"
    BOOT_SIGNALS = "a signal reaches a worker that starts"
    EXITS = "gunicorn_worker_exits_total knows the reason"
    ARBITER_METRICS = "metrics of the arbiter outlive a deleted directory"
    MANAGEMENT_PORT = "--bind keeps the management port"


@dataclass(frozen=True, slots=True)
class Proof:
    """
    What was proven about one version of gunicorn.

    Attributes:
        version: The installed version.
        read: Whether its source was read.
        missing: The reason for each feature that is off.
    """

    version: str
    read: bool
    missing: dict[Feature, str]

    def holds(self, feature: Feature) -> bool:
        """Return whether *feature* may use gunicorn's private names."""
        return feature not in self.missing


@functools.cache
def proof() -> Proof:
    """Return what is proven about the installed gunicorn; takes some milliseconds, once."""
    return prove(tuple(getattr(gunicorn, "version_info", ())))


def prove(version: tuple[Any, ...]) -> Proof:
    """
    Prove each feature against the installed gunicorn.

    Args:
        version: The version that it claims to be, as `gunicorn.version_info`.
    """
    read = version[:2] in VERSIONS_READ
    missing: dict[Feature, str] = {}
    for feature, check in _CHECKS.items():
        if not read and feature is not Feature.LOGGER:  # `logger_class` is a documented setting
            missing[feature] = "this version was not read"
            continue
        try:
            check()
        except Exception as error:
            missing[feature] = f"{type(error).__name__}: {error}"
    return Proof(".".join(map(str, version)) or "unknown", read, missing)


def report_features(gunicorn_log: Any) -> None:
    """
    Log one WARNING if a feature is off.

    Args:
        gunicorn_log: gunicorn's own logger, for when ours is not installed.
    """
    found = proof()
    if not found.missing:
        return
    fields = {
        "gunicorn": found.version,
        "versions_read": [".".join(map(str, each)) for each in VERSIONS_READ],
        "disabled": [feature.value for feature in found.missing],
        "reasons": sorted(set(found.missing.values())),
        "consequence": "gunicorn's own behaviour: a busy service may be restarted",
    }
    if found.holds(Feature.LOGGER):
        log.warning("gunicorn_features_disabled", extra=fields)
    else:
        gunicorn_log.warning("gunicorn_features_disabled %s", fields)


def queued_signals(arbiter: Any) -> set[int]:
    """Return the signals that wait for the arbiter's main loop, and leave them there."""
    waiting = []
    while True:
        try:
            waiting.append(arbiter.SIG_QUEUE.get_nowait())
        except queue.Empty:
            break
    for number in waiting:
        arbiter.SIG_QUEUE.put_nowait(number)
    return set(waiting)


# What is asked of the installed version. A check returns, or raises what is different.


class _Different(Exception):
    """gunicorn is not as it was read."""


def _require(condition: object, what: str) -> None:
    if not condition:
        raise _Different(what)


def _parameters(owner: Any, **expected: str) -> None:
    """Require the parameters of methods, as names between spaces."""
    for name, parameters in expected.items():
        found = " ".join(inspect.signature(getattr(owner, name)).parameters)
        _require(found == parameters, f"{owner.__name__}.{name}({found})")


def _uses(function: Any, names: str) -> None:
    """Require that *function* uses all *names*, as globals or attributes."""
    used = set(function.__code__.co_names)
    lost = set(names.split()) - used
    _require(not lost, f"{function.__qualname__} does not use {', '.join(sorted(lost))}")


def _uses_in_order(function: Any, names: str) -> None:
    """Require that *function* uses *names* for the first time in this order."""
    _uses(function, names)
    found = list(function.__code__.co_names)
    places = [found.index(name) for name in names.split()]
    _require(places == sorted(places), f"{function.__qualname__} has another order")


def _check_logger() -> None:
    logger = _find("gunicorn.glogging", "Logger", None)
    _parameters(
        logger,
        setup="self cfg",
        _set_handler="self log output fmt stream",
        access="self resp req environ request_time",
        debug="self msg args kwargs",
        warning="self msg args kwargs",
    )
    _uses(logger.__init__, "error_log access_log setup")
    _require(logger.LOG_LEVELS["info"] == logging.INFO, "Logger.LOG_LEVELS")
    importlib.import_module("atom_platform.logs.gunicorn")


def _check_worker() -> None:
    base = _find("gunicorn.workers.base", "Worker", None)
    _parameters(
        ThreadWorker,
        init_process="self",
        get_thread_pool="self",
        run="self",
        accept="self listener",
        handle="self conn",
        handle_error="self req client addr exc",
        handle_exit="self sig frame",
        is_parent_alive="self",
        notify="self",
        set_accept_enabled="self enabled",
        wait_for_and_dispatch_events="self timeout",
    )
    _uses(
        ThreadWorker.__init__,
        "tpool poller method_queue nr_conns worker_connections max_keepalived keepalived_conns",
    )
    _uses(base.__init__, "nr max_requests alive aborted log sockets cfg ppid")
    _uses_in_order(ThreadWorker.init_process, "get_thread_pool poller method_queue init")
    _uses_in_order(base.init_process, "init_signals load_wsgi post_worker_init run")
    _uses(ThreadWorker.handle_exit, "alive method_queue defer")
    _uses(ThreadWorker.set_accept_enabled, "_accepting sockets poller register unregister accept")
    _uses(ThreadWorker.wait_for_and_dispatch_events, "poller select data fileobj")
    _uses(ThreadWorker.handle, "initialized data_ready init parser handle_request")
    _uses(
        ThreadWorker.handle_request,
        "pre_request nr max_requests alive force_close keepalived_conns max_keepalived wsgi access",
    )
    _uses(base.handle_error, "log warning write_error")
    _uses(_find("gunicorn.util", "write_error", None), "write_nonblock")
    _check_method_queue()
    _check_connection()
    _check_head()


def _check_method_queue() -> None:
    calls = _find("gunicorn.workers.gthread", "PollableMethodQueue", None)()
    calls.init()
    try:
        seen: list[int] = []
        calls.defer(seen.append, 1)
        calls.defer(seen.append, 2)
        calls.run_callbacks(None)
        _require(seen == [1, 2] and isinstance(calls.fileno(), int), "PollableMethodQueue")
    finally:
        calls.close()


def _check_connection() -> None:
    """A new connection does not block, and its parser reads first what was put back."""
    config = _find("gunicorn.config", "Config", None)()
    plain = (bool(config.is_ssl), config.protocol, config.proxy_protocol, config.http2_cleartext)
    _require(plain == (False, "http", "off", "off"), "the settings of plain HTTP")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        _parameters(TConn, __init__="self cfg sock client server", init="self")
        connection = TConn(config, ours, ("127.0.0.1", 1), ("127.0.0.1", 2))
        state = (ours.gettimeout(), connection.initialized, connection.data_ready)
        _require(state == (0, False, False), "a new TConn")
        connection.init()
        _require(connection.initialized and ours.gettimeout() is None, "TConn.init")
        unreader = connection.parser.unreader
        unreader.unread(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b")
        request = next(connection.parser)
        _require(request.path == "/a" and callable(request.force_close), "a request")
        _require(connection.parser.finish_body(), "RequestParser.finish_body")
        ahead = (unreader.take_buffered(), unreader.take_buffered())
        _require(ahead == (b"GET /b", b""), "Unreader.take_buffered")


def _check_head() -> None:
    """A response has the headers that probe responses copy."""
    parser = _find("gunicorn.http.parser", "RequestParser", None)
    config = _find("gunicorn.config", "Config", None)()
    request = next(parser(config, [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"], None))
    response = _find("gunicorn.http.wsgi", "Response", None)(request, None, config)
    response.start_response("200 OK", [("Content-Length", "1")])
    lines = response.default_headers()
    expected = [f"Server: {SERVER}\r\n", "Connection: keep-alive\r\n"]
    _require(lines[0] == "HTTP/1.1 200 OK\r\n" and [lines[1], lines[3]] == expected, "a head")
    _require(lines[2].startswith("Date: ") and len(lines) == 4, "a head")
    _require(http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT", "util.http_date")


def _arbiter() -> Any:
    return _find("gunicorn.arbiter", "Arbiter", None)


def _check_drain() -> None:
    arbiter = _arbiter()
    names = [arbiter.SIG_NAMES[n] for n in (signal.SIGTERM, signal.SIGALRM, signal.SIGRTMIN)]
    _require(names == ["term", "alrm", "rtmin"], "Arbiter.SIG_NAMES")
    taken = hasattr(arbiter, "handle_rtmin") or hasattr(arbiter, "handle_alrm")
    _require(not taken, "Arbiter.handle_rtmin or handle_alrm exists")
    _parameters(arbiter, signal="self sig frame", handle_term="self")
    _uses(arbiter.handle_term, "StopIteration")
    _uses(arbiter.__init__, "reexec_pid master_pid")
    _uses(arbiter.signal, "SIG_QUEUE put_nowait")
    _uses_in_order(arbiter.start, "pid on_starting init_signals create_sockets when_ready")
    _require("handle_%s" in arbiter.run.__code__.co_consts, "Arbiter.run calls no handle_*")
    _uses(arbiter.run, "SIG_NAMES wait_for_signals StopIteration halt")


def _check_reload() -> None:
    arbiter = _arbiter()
    _parameters(arbiter, manage_workers="self", reap_workers="self", reload="self")
    _uses_in_order(arbiter.reload, "spawn_worker manage_workers")
    _uses(arbiter.manage_workers, "WORKERS num_workers kill_worker SIGTERM")
    _uses(arbiter.__init__, "SIG_QUEUE SimpleQueue")


def _check_reexec() -> None:
    _uses_in_order(_arbiter().reexec, "pre_exec env_orig START_CTX execvpe")


def _check_boot_signals() -> None:
    _uses_in_order(_arbiter().spawn_worker, "pre_fork fork post_fork init_process")


def _check_exits() -> None:
    arbiter = _arbiter()
    _require(arbiter.reap_workers.__globals__["os"] is os, "gunicorn.arbiter.os")
    _uses_in_order(arbiter.reap_workers, "os waitpid WNOHANG WORKERS child_exit")
    _uses(arbiter.murder_workers, "aborted SIGABRT SIGKILL")


def _check_arbiter_metrics() -> None:
    _parameters(_arbiter(), murder_workers="self")
    _uses(_arbiter().run, "murder_workers")


def _check_management_port() -> None:
    addresses = ["127.0.0.1:1", "127.0.0.1:2"]
    _require(bind_setting.validator(addresses) == addresses, "Bind.validator")
    _require(validate_list_string("127.0.0.1:1") == addresses[:1], "validate_list_string")
    _require(parse_address("127.0.0.1:1") == ("127.0.0.1", 1), "util.parse_address")
    _uses(_find("gunicorn.config", "Setting", None).set, "validator")


_CHECKS: Final[dict[Feature, Callable[[], None]]] = {
    Feature.LOGGER: _check_logger,
    Feature.WORKER: _check_worker,
    Feature.DRAIN: _check_drain,
    Feature.RELOAD: _check_reload,
    Feature.REEXEC: _check_reexec,
    Feature.BOOT_SIGNALS: _check_boot_signals,
    Feature.EXITS: _check_exits,
    Feature.ARBITER_METRICS: _check_arbiter_metrics,
    Feature.MANAGEMENT_PORT: _check_management_port,
}
