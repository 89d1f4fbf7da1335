"""
What the server leans on inside gunicorn, each with a test that fails when a new version changes it.

None of it is promised by gunicorn. Where behaviour can be asked, it is; elsewhere the source is
read for the very lines that ours replace or rely on.
"""

from __future__ import annotations

import inspect
import os
import signal
import socket
from typing import Any

import gunicorn
import pytest
from gunicorn import arbiter as arbiter_module
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader
from gunicorn.http.wsgi import Response
from gunicorn.sock import TCPSocket
from gunicorn.workers.base import Worker
from gunicorn.workers.gthread import PollableMethodQueue, TConn, ThreadWorker

from atom_platform.server.worker import HealthLaneWorker


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def source(function: Any) -> str:
    return inspect.getsource(function)


def in_order(text: str, *pieces: str) -> bool:
    """Return whether *pieces* all appear, one after the other."""
    position = -1
    for piece in pieces:
        position = text.find(piece, position + 1)
        if position < 0:
            return False
    return True


def test_the_minor_version_is_the_one_that_was_read() -> None:
    """A new one may come in only together with a look at all of this."""
    assert gunicorn.version_info[:2] == (27, 0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("init_process", ["self"]),
        ("get_thread_pool", ["self"]),
        ("run", ["self"]),
        ("accept", ["self", "listener"]),
        ("handle_error", ["self", "req", "client", "addr", "exc"]),
    ],
)
def test_overridden_methods_have_the_same_signature(name: str, expected: list[str]) -> None:
    assert parameters(getattr(ThreadWorker, name)) == expected
    assert parameters(getattr(HealthLaneWorker, name)) == expected


def test_nothing_else_of_the_threaded_worker_is_overridden() -> None:
    """What is added must not meet a name that gunicorn uses for something of its own."""
    ours = {name for name in vars(HealthLaneWorker) if not name.startswith("__")}
    theirs = {name for each in (ThreadWorker, Worker) for name in vars(each)}
    attributes = set(source(ThreadWorker.__init__).split()) | set(source(Worker.__init__).split())

    assert ours & theirs == {"init_process", "get_thread_pool", "run", "accept", "handle_error"}
    assert not {f"self.{name}" for name in ours} & attributes


def test_a_refusal_is_told_to_the_log_and_then_written_to_the_socket() -> None:
    """`Refusal` stands in for the socket meanwhile."""
    assert in_order(
        source(Worker.handle_error),
        'msg = "Invalid request from ip={ip}: {error}"',
        "self.log.warning(",
        "util.write_error(client, status_int, reason, mesg)",
    )


def test_only_the_replaced_methods_know_gunicorns_waiting_connections() -> None:
    """Our `run`, `accept` and lobby replace all users of the two queues but one count."""
    users = {
        name
        for name, member in vars(ThreadWorker).items()
        if inspect.isfunction(member)
        and any(word in source(member) for word in ("keepalived_conns", "pending_conns"))
    }

    assert users == {
        "__init__",
        "_cap_keepalive",
        "finish_request",
        "handle_request",  # closes when there are too many: ours is empty, and makes room instead
        "murder_keepalived",
        "murder_pending",
        "on_client_socket_readable",
        "on_pending_socket_readable",
        "run",
    }
    assert "len(self.keepalived_conns) >= self.max_keepalived" in source(
        ThreadWorker.handle_request
    )


def test_the_pool_is_only_asked_what_ours_can_answer() -> None:
    """`submit` stands in `enqueue_req`, which only the replaced `accept` and callbacks call."""
    uses = [
        line.strip()
        for member in vars(ThreadWorker).values()
        if inspect.isfunction(member)
        for line in source(member).splitlines()
        if "tpool" in line
    ]

    assert sorted(uses) == [
        "fs = self.tpool.submit(self.handle, conn)",
        "self.tpool = None",
        "self.tpool = self.get_thread_pool()",
        "self.tpool.shutdown(wait=False)",
        "self.tpool.shutdown(wait=False)",
    ]


def test_init_process_makes_pool_poller_and_queue_before_it_runs() -> None:
    assert in_order(
        source(ThreadWorker.init_process),
        "self.get_thread_pool()",
        "self.poller = selectors.DefaultSelector()",
        "self.method_queue.init()",
        "super().init_process()",
    )
    assert in_order(
        source(Worker.init_process),
        "self.init_signals()",
        "self.load_wsgi()",
        "self.cfg.post_worker_init(self)",
        "self.run()",
    )


def test_sigterm_only_clears_alive_and_wakes_the_loop() -> None:
    assert in_order(
        source(ThreadWorker.handle_exit), "self.alive = False", "self.method_queue.defer("
    )


def test_the_method_queue_runs_callbacks_on_whoever_reads_it() -> None:
    calls = PollableMethodQueue()
    calls.init()
    try:
        seen: list[int] = []
        calls.defer(seen.append, 1)
        calls.defer(seen.append, 2)
        calls.run_callbacks(None)
        assert seen == [1, 2]
        assert isinstance(calls.fileno(), int)
    finally:
        calls.close()


def test_accepting_is_switched_at_the_poller() -> None:
    text = source(ThreadWorker.set_accept_enabled)

    assert parameters(ThreadWorker.set_accept_enabled) == ["self", "enabled"]
    assert in_order(
        text,
        "if enabled == self._accepting",
        "self.poller.register(listener, selectors.EVENT_READ, self.accept)",
        "self.poller.unregister(listener)",
        "self._accepting = enabled",
    )


def test_events_call_what_was_registered_with_the_file() -> None:
    assert in_order(
        source(ThreadWorker.wait_for_and_dispatch_events),
        "self.poller.select(timeout)",
        "callback = key.data",
        "callback(key.fileobj)",
    )
    assert parameters(ThreadWorker.wait_for_and_dispatch_events) == ["self", "timeout"]


def test_handle_serves_a_connection_that_was_initialised_before() -> None:
    """No wait for data, no second parser; and it returns whether the connection goes on."""
    text = source(ThreadWorker.handle)

    assert parameters(ThreadWorker.handle) == ["self", "conn"]
    assert in_order(
        text,
        "if not conn.initialized and not conn.data_ready:",
        "conn.sock.setblocking(True)",
        "conn.init()",
        "next(conn.parser)",
        "return self._keepalive_after(conn, self.handle_request(req, conn))",
    )
    assert "if self.initialized:\n            return" in source(TConn.init)


def test_handle_request_counts_and_closes_as_the_loop_assumes() -> None:
    assert in_order(
        source(ThreadWorker.handle_request),
        "self.cfg.pre_request(self, req)",
        "self.nr += 1",
        "if self.nr >= self.max_requests:",
        "self.alive = False",
        "if not self.alive or not self.cfg.keepalive:",
        "resp.force_close()",
    )


def test_errors_are_answered_without_blocking() -> None:
    """The loop refuses an endless head with it."""
    assert parameters(Worker.handle_error) == ["self", "req", "client", "addr", "exc"]
    assert "LimitRequestHeaders" in source(Worker.handle_error)
    assert "write_nonblock(sock" in source(gunicorn.util.write_error)


def test_a_parser_reads_first_what_was_put_back() -> None:
    """And hands out what it has read too far, so that nothing pipelined is lost."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        parser = RequestParser(Config(), ours, ("127.0.0.1", 1))
        assert isinstance(parser.unreader, SocketUnreader)
        parser.unreader.unread(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b")

        request = next(parser)

        assert request.path == "/a"
        assert parser.finish_body()
        assert parser.unreader.take_buffered() == b"GET /b"
        assert parser.unreader.take_buffered() == b""


def test_a_request_can_be_made_the_last_of_its_connection() -> None:
    """While draining, the hook before each request does so."""
    request = next(RequestParser(Config(), [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"], None))
    response = Response(request, None, Config())
    response.start_response("204 No Content", [])
    assert "Connection: keep-alive\r\n" in response.default_headers()

    request.force_close()

    assert "Connection: close\r\n" in response.default_headers()
    assert "if resp.should_close():" in source(ThreadWorker.handle_request)


def test_a_new_connection_is_non_blocking_and_closes_plainly() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        connection = TConn(Config(), ours, ("127.0.0.1", 1), ("127.0.0.1", 2))

        assert parameters(TConn) == ["cfg", "sock", "client", "server"]
        assert ours.gettimeout() == 0
        assert (connection.initialized, connection.data_ready) == (False, False)
        connection.close()
        assert theirs.recv(1) == b""


def test_listeners_wrap_a_socket() -> None:
    """`sock` is Python's own; the wrapper hands the rest on."""
    listener = TCPSocket(("127.0.0.1", 0), Config(), None)
    try:
        assert isinstance(listener.sock, socket.socket)
        assert listener.getsockname() == listener.sock.getsockname()
        assert listener.sock.gettimeout() == 0
    finally:
        listener.close()


def test_responses_begin_with_the_headers_that_liveness_writes() -> None:
    class Request:
        version = (1, 1)
        method = "GET"

        def should_close(self) -> bool:
            return False

    response = Response(Request(), None, Config())
    response.start_response("200 OK", [("Content-Length", "1")])

    lines = response.default_headers()

    assert [line.partition(":")[0] for line in lines[1:]] == ["Server", "Date", "Connection"]
    assert lines[0] == "HTTP/1.1 200 OK\r\n"
    assert lines[1] == f"Server: {gunicorn.SERVER}\r\n"
    assert lines[3] == "Connection: keep-alive\r\n"


def test_settings_that_make_bytes_opaque_exist() -> None:
    config = Config()

    assert (bool(config.is_ssl), config.protocol) == (False, "http")
    assert (config.proxy_protocol, config.http2_cleartext) == ("off", "off")


# The arbiter.


def test_signals_are_queued_and_handled_by_name() -> None:
    """The drain puts its own `handle_term`, `handle_rtmin` and `handle_alrm` in the way."""
    text = source(Arbiter.run)

    assert in_order(
        text, "self.SIG_NAMES.get(sig)", 'getattr(self, "handle_%s" % signame, None)', "handler()"
    )
    assert "except (StopIteration, KeyboardInterrupt):\n            self.halt()" in text
    names = Arbiter.SIG_NAMES
    assert [names[n] for n in (signal.SIGTERM, signal.SIGALRM, signal.SIGRTMIN)] == [
        "term",
        "alrm",
        "rtmin",
    ]
    assert not hasattr(Arbiter, "handle_rtmin")
    assert not hasattr(Arbiter, "handle_alrm")
    assert "raise StopIteration" in source(Arbiter.handle_term)
    assert "self.SIG_QUEUE.put_nowait(sig)" in source(Arbiter.signal)


def test_handlers_are_installed_before_when_ready_and_never_again() -> None:
    assert in_order(
        source(Arbiter.start),
        "self.pid = os.getpid()",
        "self.cfg.on_starting(self)",
        "self.init_signals()",
        "self.LISTENERS = sock.create_sockets(",
        "self.cfg.when_ready(self)",
    )
    callers = [
        name
        for name, member in vars(Arbiter).items()
        if inspect.isfunction(member) and "self.init_signals()" in source(member)
    ]
    assert callers == ["start"]


def test_stopping_ignores_every_signal_but_the_quick_ones() -> None:
    """A drain's alarm that comes late must not disturb."""
    assert in_order(
        source(Arbiter.stop),
        "self.LISTENERS = []",
        "self.kill_workers(sig)",
        "if pending_sig in (signal.SIGINT, signal.SIGQUIT):",
    )


def test_workers_are_reaped_through_the_modules_own_os() -> None:
    assert arbiter_module.os is os
    assert in_order(
        source(Arbiter.reap_workers),
        "os.waitpid(-1, os.WNOHANG)",
        "self.WORKERS.pop(wpid, None)",
        "self.cfg.child_exit(self, worker)",
    )
    waits = [line.strip() for line in source(Arbiter).splitlines() if "waitpid(" in line]
    assert "wpid, status = os.waitpid(-1, os.WNOHANG)" in waits


def test_a_silent_worker_is_marked_before_it_is_killed() -> None:
    assert in_order(
        source(Arbiter.murder_workers),
        "worker.aborted = True",
        "signal.SIGABRT",
        "signal.SIGKILL",
    )
    assert "self.aborted = False" in source(Worker.__init__)


def test_a_reload_forks_successors_and_then_ends_the_surplus() -> None:
    assert in_order(source(Arbiter.reload), "self.spawn_worker()", "self.manage_workers()")
    assert in_order(
        source(Arbiter.manage_workers),
        "while len(workers) > self.num_workers:",
        "self.kill_worker(pid, signal.SIGTERM)",
    )
    assert "self.SIG_QUEUE = queue.SimpleQueue()" in source(Arbiter.__init__)


def test_hooks_are_called_where_seats_are_taken_and_left() -> None:
    """`pre_fork` before the fork, `post_fork` in the child, `worker_exit` as its last act."""
    assert in_order(
        source(Arbiter.spawn_worker),
        "self.worker_class(self.worker_age, self.pid, self.LISTENERS",
        "self.cfg.pre_fork(self, worker)",
        "os.fork()",
        "self.cfg.post_fork(self, worker)",
        "worker.init_process()",
        "finally:",
        "self.cfg.worker_exit(self, worker)",
    )
    assert "self.cfg.worker_exit(self, worker)" in source(Arbiter.kill_worker)


def test_max_requests_is_compared_with_what_a_worker_has_served() -> None:
    assert in_order(source(Worker.__init__), "self.nr = 0", "self.max_requests = ")


def test_a_reexecuted_arbiter_gets_the_environment_from_before_our_configuration() -> None:
    assert in_order(
        source(Arbiter.reexec),
        "self.cfg.pre_exec(self)",
        "environ = self.cfg.env_orig.copy()",
        "environ['GUNICORN_PID']",
        "os.execvpe(",
    )
    assert in_order(source(Arbiter.__init__), "self.reexec_pid = 0", "self.master_pid = 0")


def test_the_configuration_file_is_run_again_on_reload() -> None:
    assert "self.app.reload()" in source(Arbiter.reload)


def test_loggers_are_shared_with_the_workers() -> None:
    """`observe_request` is set on the worker's logger, once the application is loaded."""
    assert "self.log = log" in source(Worker.__init__)
    assert "observe_request" not in source(Logger)


def test_arbiter_looks_for_silent_workers_every_turn() -> None:
    """Our heartbeat of the arbiter's metric files rides on it."""
    assert "self.murder_workers()" in inspect.getsource(Arbiter.run)
