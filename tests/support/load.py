"""Clients that keep a service busy, or merely keep it: in threads, all of them bounded."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.support.client import Client, get
from tests.support.polling import wait_until
from tests.support.service import Service
from tests.support.stalls import scaled

__all__ = ["Load", "all_busy", "connected", "occupied", "slow_readers", "under_load", "workers_of"]


def workers_of(service: Service, count: int) -> list[int]:
    """Wait until *service* has *count* workers, and return their pids."""
    wait_until(lambda: len(service.workers()) == count)
    return service.workers()


@contextmanager
def connected(service: Service, count: int, data: bytes = b"") -> Iterator[list[Client]]:
    """Hold *count* connections that have sent *data*, and nothing more."""
    with ExitStack() as stack:
        clients = []
        for _ in range(count):
            sock = stack.enter_context(
                socket.create_connection(("127.0.0.1", service.port), timeout=scaled(20))
            )
            clients.append(Client(sock))
            sock.sendall(data)
        yield clients


@contextmanager
def slow_readers(service: Service, count: int) -> Iterator[list[socket.socket]]:
    """Have *count* clients ask for the metrics and read nothing but the first bytes."""
    with ExitStack() as stack:
        socks = []
        for _ in range(count):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(scaled(20))
            sock.connect(("127.0.0.1", service.port))
            sock.sendall(get("/health/metrics", "Connection: close"))
            socks.append(sock)
        for sock in socks:
            assert sock.recv(16) == b"HTTP/1.1 200 OK\r"
        yield socks


@contextmanager
def occupied(service: Service, count: int, path: str) -> Iterator[None]:
    """Have *count* requests of *path* under way, and see to their end."""
    with connected(service, count, get(path, "Connection: close")) as clients:
        yield
        for client in clients:
            client.sock.close()


@contextmanager
def all_busy(service: Service, path: str, *, threads: int) -> Iterator[None]:
    """
    Have requests of *path* under way until *threads* threads are busy.

    However many that takes: on a crowded machine one worker may take more than its share before
    its sibling gets to run, and those requests wait there.
    """
    with ExitStack() as stack:

        def one_more() -> bool:
            stack.enter_context(occupied(service, 1, path))
            return service.sample("gunicorn_threads_busy") == threads

        wait_until(one_more, seconds=40)
        yield


class Load:
    """
    What clients that each ask again and again were told.

    Attributes:
        answers: Statuses, with how often.
        failures: What else became of a request, with how often: `refused` is a connection that the
            kernel turned down, anything else was accepted and then lost.
    """

    def __init__(self, service: Service, path: str) -> None:
        self.answers: Counter[int] = Counter()
        self.failures: Counter[str] = Counter()
        self._service = service
        self._path = path
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._clients: list[threading.Thread] = []

    def start(self, *, clients: int, keep_alive: bool) -> None:
        for _ in range(clients):
            client = threading.Thread(
                target=self.one_client, kwargs={"keep_alive": keep_alive}, daemon=True
            )
            self._clients.append(client)
            client.start()

    def one_client(self, *, keep_alive: bool) -> None:
        client: Client | None = None
        while not self._over.is_set():
            try:
                if client is None:
                    client = Client(
                        socket.create_connection(
                            ("127.0.0.1", self._service.port), timeout=scaled(20)
                        )
                    )
            except OSError:
                self._note(failure="refused")
                time.sleep(0.005)
                continue
            try:
                reply = client.ask(self._path, *([] if keep_alive else ["Connection: close"]))
            except OSError as error:
                self._note(failure=type(error).__name__)
                client.sock.close()
                client = None
                continue
            self._note(status=reply.status)
            if reply.headers.get("connection") != "keep-alive":
                client.sock.close()
                client = None
        if client is not None:
            client.sock.close()

    def stop(self) -> None:
        """Have no client ask again, and wait until each has noted its last answer."""
        self._over.set()
        for client in self._clients:
            client.join(scaled(30))

    def _note(self, *, status: int | None = None, failure: str | None = None) -> None:
        with self._lock:
            if status is not None:
                self.answers[status] += 1
            if failure is not None:
                self.failures[failure] += 1


@contextmanager
def under_load(
    service: Service, path: str, *, clients: int = 6, keep_alive: bool = False
) -> Iterator[Load]:
    """Ask for *path* from *clients* clients meanwhile; the load has ended when this has."""
    load = Load(service, path)
    load.start(clients=clients, keep_alive=keep_alive)
    try:
        yield load
    finally:
        load.stop()
