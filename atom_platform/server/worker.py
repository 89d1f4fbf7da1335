"""
The worker whose probes are answered whatever its requests do.

gunicorn's threaded worker gives each new connection a thread, where it waits for the request. With
every thread busy, or held by clients that send nothing, liveness waits too, and the orchestrator
restarts a service that works. Here connections wait in the poller until a request is complete.
Health requests then have threads that nothing else can take, the plain liveness request needs none,
and one thread answers all plain scrapes.

Requests answered without the application do not count toward `max_requests`.
"""

from __future__ import annotations

import errno
import logging
import math
import resource
import selectors
import sys
import time
from typing import Any, Final

from atom_platform.ids import new_id
from atom_platform.logs.gunicorn import REJECTED_REQUEST, RejectedRequest
from atom_platform.metrics.instruments import heartbeat
from atom_platform.server._compat_gunicorn import Feature, ThreadWorker, proof
from atom_platform.server.dispatch import ConnectionDispatcher
from atom_platform.server.listener import ACCEPT_BACKOFF_SECONDS, AcceptBalancer, Listener
from atom_platform.server.scoreboard import is_draining
from atom_platform.server.thread_pool import ThreadPool

__all__ = ["ProbeThreadWorker"]

STOP_SECONDS: Final = 1.0  # a stopping worker waits that long for requests already on their way
BACKLOG_SECONDS: Final = 0.2  # and accepts that long what the kernel has accepted for it
EXIT_SECONDS: Final = 0.1  # at the end of the graceful timeout the arbiter kills

#: `TCP_DEFER_ACCEPT` hides a new connection until its first bytes arrive. Once it is cleared, the
#: kernel hands such connections over on the next SYN-ACK retransmission, after about 1 s.
HIDDEN_BACKLOG_SECONDS: Final = 1.2

NO_DESCRIPTOR_SECONDS: Final = 0.1
SPARE_FILES: Final = 256
NOTIFY_SECONDS: Final = 0.5

#: How long a thread that computes keeps the interpreter once the loop wants it. With Python's own
#: 5 ms, and every thread computing, liveness waited for several of them: p99 was 8 times as high.
SWITCH_SECONDS: Final = 0.001

#: Connections accepted in one turn, as long as none of them needs a thread.
MAX_ACCEPTED: Final = 32

NO_CONNECTION: Final = {errno.EAGAIN, errno.ECONNABORTED, errno.EINTR, errno.EPROTO}
NO_RESOURCES: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

log = logging.getLogger("atom_platform.server")


class ProbeThreadWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no annotations
    """
    gunicorn's threaded worker, with a path of its own for health requests.

    Nothing on the accept loop blocks, and only the loop touches connections that wait, so none of
    it takes a lock.
    """

    worker_connections: int

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make gunicorn's own worker where ours is not proven, for `-k` that names this class."""
        if not proof().holds(Feature.WORKER):
            return ThreadWorker(*args, **kwargs)
        return super().__new__(cls)

    def init_process(self) -> None:
        self.accept_balancer = AcceptBalancer(getattr(self, "atom_index", None))
        self.accepts_at: float | None = None
        self.notified_at = 0.0
        self.undeferred_since: float | None = None
        super().init_process()

    def get_thread_pool(self) -> ThreadPool:
        return ThreadPool(self.cfg.threads, name="request")

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        with ParserErrorResponse(client) as response:
            super().handle_error(req, response, addr, exc)

    def run(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        self.keep_spare_files()
        self.dispatcher = ConnectionDispatcher(self)
        self.listeners = {each: Listener(each.sock) for each in self.sockets}
        self.update_defer_accept()
        self.poller.register(
            self.method_queue.fileno(), selectors.EVENT_READ, self.method_queue.run_callbacks
        )
        self.set_accept_enabled(True)
        self.busy_changed()
        while self.alive and self.is_parent_alive():
            self.turn()
        self.stop_gracefully()

    def turn(self, *, until: float = math.inf) -> None:
        """Wait for events or the next deadline, a second at most, and handle them."""
        now = time.monotonic()
        if now - self.notified_at >= NOTIFY_SECONDS:
            self.notify()
            self.notified_at = now
            heartbeat()
            if self.alive:
                self.update_defer_accept()
        self.accept_balancer.heartbeat()
        if self.accepts_at is not None and now >= self.accepts_at and self.alive:
            self.accepts_at = None
            self.set_accept_enabled(True)
        due = [1.0, max(0.0, until - now), *self.dispatcher.seconds_to_deadlines(now)]
        if self.accepts_at is not None and self.alive:
            due.append(self.accepts_at - now)
        self.wait_for_and_dispatch_events(timeout=min(due))
        self.dispatcher.answer_postponed()
        self.dispatcher.connections.expire(time.monotonic())

    def stop_gracefully(self) -> None:
        """Answer all requests on connections that this worker or the kernel has accepted."""
        now = time.monotonic()
        deadline = now + self.cfg.graceful_timeout - EXIT_SECONDS
        self.accept_balancer.set_free_thread(False)
        if self.nr < self.max_requests:  # otherwise only this worker ends, and others accept
            self.drain_hidden_backlog(now, (now + deadline) / 2)
        self.set_accept_enabled(False)
        until = time.monotonic() + BACKLOG_SECONDS
        for listener in self.sockets:
            while self.take_connection(listener) is not None and time.monotonic() < until:
                if not is_draining():
                    self.set_defer_accept(True)
            listener.close()  # at once: what arrives between the last accept and this is reset
        self.dispatcher.answer_postponed(at_once=True)
        soon = min(deadline, time.monotonic() + STOP_SECONDS)
        while self.nr_conns > 0 and time.monotonic() < deadline:
            self.dispatcher.connections.cap_idle_deadlines(soon)
            self.turn(until=deadline)
        if self.dispatcher.busy:
            log.warning("requests_cut_off", extra={"requests": self.dispatcher.busy})
        self.dispatcher.close()  # not the method queue: a cut off thread may still write to it

    def drain_hidden_backlog(self, now: float, at_latest: float) -> None:
        """Serve on until the kernel has handed over each connection that it has accepted."""
        self.set_defer_accept(False)
        until = min((self.undeferred_since or now) + HIDDEN_BACKLOG_SECONDS, at_latest)
        while time.monotonic() < until:
            self.turn(until=until)

    def keep_spare_files(self) -> None:
        """Limit connections so that descriptors are left for databases, logs and metrics."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY:
            most = soft - min(SPARE_FILES, soft // 4)
            self.worker_connections = min(self.worker_connections, most)

    # Accepting connections.

    def accept(self, listener: Any) -> None:
        """Accept connections, or leave them to another worker with a free thread."""
        if self.dispatcher.busy >= self.cfg.threads and self.accept_balancer.should_yield():
            self.pause_accept(ACCEPT_BACKOFF_SECONDS)
            return
        for _ in range(MAX_ACCEPTED):
            if not self.take_connection(listener):
                return

    def take_connection(self, listener: Any) -> bool | None:
        """
        Accept one connection, and read its request if that is there already.

        Returns:
            Whether there is time for another, because this one needs no thread; None when no
            connection was accepted.
        """
        table = self.dispatcher.connections
        if self.nr_conns >= self.worker_connections and not table.evict_one():
            self.pause_accept(NO_DESCRIPTOR_SECONDS)
            return None
        ours = self.listeners[listener]
        try:
            sock, client = ours.accept()
        except OSError as error:
            if error.errno in NO_RESOURCES:
                if not table.evict_one():
                    self.pause_accept(NO_DESCRIPTOR_SECONDS)
            elif error.errno not in NO_CONNECTION:
                raise
            return None
        return self.dispatcher.on_accept(sock, client, ours.address)

    def update_defer_accept(self) -> None:
        """
        Let the kernel keep connections until their request arrives, except during a drain.

        A drain ends for all workers at once, and what was accepted by then is answered. The option
        belongs to the listener that all workers share: another one may have changed it.
        """
        self.set_defer_accept(not is_draining())

    def set_defer_accept(self, defer: bool) -> None:
        """Set or clear `TCP_DEFER_ACCEPT` on all listeners."""
        if defer:
            self.undeferred_since = None
        elif self.undeferred_since is None:
            self.undeferred_since = time.monotonic()
        for listener in self.listeners.values():
            listener.set_defer_accept(defer)

    def pause_accept(self, seconds: float) -> None:
        """Accept no connection for *seconds*; the loop goes on."""
        self.accepts_at = time.monotonic() + seconds
        self.set_accept_enabled(False)

    def busy_changed(self) -> None:
        """Publish whether this worker has a free thread."""
        free = self.dispatcher.busy < self.cfg.threads
        self.accept_balancer.set_free_thread(free and self.alive)
        if free and self.accepts_at is not None:
            self.accepts_at = 0.0  # accept again in the next turn


class ParserErrorResponse:
    """
    Stands in for a client's socket while gunicorn answers what its parser refused.

    Adds the id that the access line has. A context manager.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._refused = RejectedRequest(new_id())
        self._begun = False

    def __enter__(self) -> ParserErrorResponse:
        self._token = REJECTED_REQUEST.set(self._refused)
        return self

    def __exit__(self, *_: object) -> None:
        REJECTED_REQUEST.reset(self._token)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendall(self, data: bytes) -> None:
        """Send *data*; the first call's begins with the head of the response."""
        if not self._begun:
            self._begun = True
            line, separator, rest = data.partition(b"\r\n")
            headers = b"Cache-Control: no-store\r\n"
            if self._refused.observed:
                headers += f"X-Request-ID: {self._refused.request_id}\r\n".encode("ascii")
            data = line + separator + headers + rest
        self._sock.sendall(data)
