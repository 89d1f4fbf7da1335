"""
The worker whose probes are answered whatever its requests do.

gunicorn's threaded worker gives each new connection a thread and waits there for the request: with
every thread busy, or held by clients that send nothing, liveness waits too, and the orchestrator
restarts a service that works. Here connections wait in the poller until a request is whole. Health
requests then have threads that nothing else can take, the plain liveness request needs none, and
one thread answers all plain scrapes.

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

from atom_platform.metrics.instruments import heartbeat
from atom_platform.server._compat_gunicorn import Feature, ThreadWorker, proof
from atom_platform.server.door import Door
from atom_platform.server.drain import is_draining
from atom_platform.server.flow import Flow
from atom_platform.server.pool import ThreadPool
from atom_platform.server.refusal import Refusal
from atom_platform.server.turnstile import ASIDE_SECONDS, Turnstile

__all__ = ["HealthLaneWorker"]

STOP_SECONDS: Final = 1.0  # a stopping worker waits that long for requests already on their way
LAST_CALL_SECONDS: Final = 0.2
LAST_WORDS_SECONDS: Final = 0.1  # at the end of the graceful timeout the arbiter kills

#: Once the doors are open, who stood outside is let in with the next SYN-ACK: the kernel sends the
#: second of them after a second.
OUTSIDE_SECONDS: Final = 1.2

SHORT_OF_FILES_SECONDS: Final = 0.1
SPARE_FILES: Final = 256
NOTIFY_SECONDS: Final = 0.5

#: How long a thread that computes keeps the interpreter once the loop wants it. With Python's own
#: 5 ms, and every thread computing, liveness waited for several of them: p99 was 8 times as high.
SWITCH_SECONDS: Final = 0.001

#: Accepted in one turn at most, and only while each is answered on the spot.
MOST_ACCEPTED: Final = 32

NOBODY_THERE: Final = {errno.EAGAIN, errno.ECONNABORTED, errno.EINTR, errno.EPROTO}
OUT_OF: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

log = logging.getLogger("atom_platform.server")


class HealthLaneWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no annotations
    """
    gunicorn's threaded worker with a lane of its own for health requests.

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
        self.turnstile = Turnstile(getattr(self, "atom_seat", None))
        self.accepts_at: float | None = None
        self.notified_at = 0.0
        self.open_since: float | None = None
        super().init_process()

    def get_thread_pool(self) -> ThreadPool:
        return ThreadPool(self.cfg.threads, name="request")

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        with Refusal(client) as refusal:
            super().handle_error(req, refusal, addr, exc)

    def run(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        self.leave_spare_files()
        self.flow = Flow(self)
        self.doors = {door: Door(door.sock) for door in self.sockets}
        self.see_to_doors()
        self.poller.register(
            self.method_queue.fileno(), selectors.EVENT_READ, self.method_queue.run_callbacks
        )
        self.set_accept_enabled(True)
        self.busy_changed()
        while self.alive and self.is_parent_alive():
            self.turn()
        self.stop_gracefully()

    def turn(self, *, until: float = math.inf) -> None:
        """Wait until something happens or falls due, a second at most, and see to it."""
        now = time.monotonic()
        if now - self.notified_at >= NOTIFY_SECONDS:
            self.notify()
            self.notified_at = now
            heartbeat()
            if self.alive:
                self.see_to_doors()
        self.turnstile.beat()
        if self.accepts_at is not None and now >= self.accepts_at and self.alive:
            self.accepts_at = None
            self.set_accept_enabled(True)
        due = [1.0, max(0.0, until - now), *self.flow.seconds_to_deadlines(now)]
        if self.accepts_at is not None and self.alive:
            due.append(self.accepts_at - now)
        self.wait_for_and_dispatch_events(timeout=min(due))
        self.flow.catch_up()
        self.flow.lobby.expire(time.monotonic())

    def stop_gracefully(self) -> None:
        """Answer what was accepted, and what the kernel has accepted for us, then go."""
        now = time.monotonic()
        deadline = now + self.cfg.graceful_timeout - LAST_WORDS_SECONDS
        self.turnstile.say_free(False)
        if self.nr < self.max_requests:  # else only this worker goes, and the doors stay
            self.let_outsiders_in(now, (now + deadline) / 2)
        self.set_accept_enabled(False)
        until = time.monotonic() + LAST_CALL_SECONDS
        for listener in self.sockets:
            while self.take_connection(listener) is not None and time.monotonic() < until:
                if not is_draining():
                    self.close_doors()
            listener.close()  # at once: who knocks between the last look and this is reset
        self.flow.catch_up(at_once=True)
        soon = min(deadline, time.monotonic() + STOP_SECONDS)
        while self.nr_conns > 0 and time.monotonic() < deadline:
            self.flow.lobby.hurry(soon)
            self.turn(until=deadline)
        if self.flow.busy:
            log.warning("requests_cut_off", extra={"requests": self.flow.busy})
        self.flow.close()  # not the method queue: a thread that was cut off may still write to it

    def let_outsiders_in(self, now: float, at_latest: float) -> None:
        """Go on as before until nobody who has come is left outside the door."""
        self.open_doors()
        until = min((self.open_since or now) + OUTSIDE_SECONDS, at_latest)
        while time.monotonic() < until:
            self.turn(until=until)

    def leave_spare_files(self) -> None:
        """Take no more connections than leave descriptors for databases, logs and metrics."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY:
            most = soft - min(SPARE_FILES, soft // 4)
            self.worker_connections = min(self.worker_connections, most)

    # Taking connections.

    def accept(self, listener: Any) -> None:
        """Take what waits at *listener*, or leave it to a sibling with a thread to spare."""
        if self.flow.busy >= self.cfg.threads and self.turnstile.leaves_to_sibling():
            self.look_away(ASIDE_SECONDS)
            return
        for _ in range(MOST_ACCEPTED):
            if not self.take_connection(listener):
                return

    def take_connection(self, listener: Any) -> bool | None:
        """
        Accept one connection, and read its request if that is there already.

        Returns:
            Whether there is time for another, as this one takes next to none; None when there was
            no connection to take.
        """
        if self.nr_conns >= self.worker_connections and not self.flow.lobby.make_room():
            self.look_away(SHORT_OF_FILES_SECONDS)
            return None
        door = self.doors[listener]
        try:
            sock, client = door.accept()
        except OSError as error:
            if error.errno in OUT_OF:
                if not self.flow.lobby.make_room():
                    self.look_away(SHORT_OF_FILES_SECONDS)
            elif error.errno not in NOBODY_THERE:
                raise
            return None
        return self.flow.welcome(sock, client, door.address)

    def see_to_doors(self) -> None:
        """
        Have clients wait outside until they say what they want, whoever left and opened up.

        Not during a drain, whose end comes for all at once: who is in by then gets an answer.
        """
        if is_draining():
            self.open_doors()
        else:
            self.close_doors()

    def open_doors(self) -> None:
        """Let clients in when they come, and soon those who have come."""
        if self.open_since is None:
            self.open_since = time.monotonic()
        for door in self.doors.values():
            door.let_all_in()

    def close_doors(self) -> None:
        """Let clients in when they say what they want."""
        self.open_since = None
        for door in self.doors.values():
            door.let_in_with_request()

    def look_away(self, seconds: float) -> None:
        """Take no connection for a while; the turns go on."""
        self.accepts_at = time.monotonic() + seconds
        self.set_accept_enabled(False)

    def busy_changed(self) -> None:
        """Tell the siblings whether there is a thread to spare."""
        spare = self.flow.busy < self.cfg.threads
        self.turnstile.say_free(spare and self.alive)
        if spare and self.accepts_at is not None:
            self.accepts_at = 0.0  # look again in the next turn
