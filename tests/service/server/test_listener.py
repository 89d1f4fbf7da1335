"""How connections are accepted, and by which worker."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from atom_platform.server.listener import AcceptBalancer, Listener
from atom_platform.server.scoreboard import SCOREBOARD
from tests.support.client import Client
from tests.support.load import workers_of
from tests.support.polling import wait_until
from tests.support.service import Service
from tests.support.stalls import scaled

REQUEST = b"GET / HTTP/1.1\r\n\r\n"


@pytest.fixture(name="sockets")
def _sockets() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(name="listener")
def _listener(sockets: ExitStack) -> socket.socket:
    listener = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
    listener.setblocking(False)
    return listener


def client_of(listener: socket.socket, sockets: ExitStack) -> socket.socket:
    return sockets.enter_context(
        socket.create_connection(listener.getsockname(), timeout=scaled(20))
    )


def is_readable(listener: socket.socket) -> bool:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(20_000))


def test_a_connection_is_accepted_with_its_request(
    listener: socket.socket, sockets: ExitStack
) -> None:
    shared = Listener(listener)
    client = client_of(listener, sockets)
    with pytest.raises(BlockingIOError):
        shared.accept()

    client.send(REQUEST)
    assert is_readable(listener)
    sock, address = shared.accept()

    assert sockets.enter_context(sock).recv(100, socket.MSG_DONTWAIT) == REQUEST
    assert address == client.getsockname()
    assert shared.address == listener.getsockname()


def test_a_silent_connection_is_accepted_after_a_second(
    listener: socket.socket, sockets: ExitStack
) -> None:
    """It may be a client that opens its connections beforehand."""
    shared = Listener(listener)
    client = client_of(listener, sockets)

    assert is_readable(listener)

    sock, address = shared.accept()
    assert sockets.enter_context(sock).getpeername() == address == client.getsockname()


def test_without_defer_accept_each_connection_is_accepted_at_once(
    listener: socket.socket, sockets: ExitStack
) -> None:
    """One that came before is accepted when its request comes."""
    shared = Listener(listener)
    before = client_of(listener, sockets)

    shared.set_defer_accept(False)
    after = client_of(listener, sockets)
    sock, address = shared.accept()
    sockets.enter_context(sock)

    assert address == after.getsockname()
    before.send(REQUEST)
    assert is_readable(listener)
    sock, address = shared.accept()
    assert sockets.enter_context(sock).recv(100) == REQUEST


def test_a_new_worker_sets_defer_accept_again(listener: socket.socket, sockets: ExitStack) -> None:
    Listener(listener).set_defer_accept(False)

    shared = Listener(listener)

    client_of(listener, sockets)
    with pytest.raises(BlockingIOError):
        shared.accept()


def test_a_unix_socket_can_be_accepted_from(
    sockets: ExitStack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = str(tmp_path_factory.mktemp("s") / "s")
    listener = sockets.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(path)
    listener.listen()
    shared = Listener(listener)
    client = sockets.enter_context(socket.socket(socket.AF_UNIX))
    client.connect(path)

    sock, _ = shared.accept()

    assert sockets.enter_context(sock).getsockname() == path


def test_a_silent_client_delays_no_probe_whatever_the_default_timeout(
    serve: Callable[..., Service], connect: Callable[[Service], Client]
) -> None:
    service = serve(app="tests.support.impatient_application:app", env={"WEB_CONCURRENCY": "1"})
    silent = [connect(service) for _ in range(3)]
    slowest, until = 0.0, time.monotonic() + 2  # they are accepted after a second
    while time.monotonic() < until:
        asked = time.monotonic()
        assert service.get("/health/live").status == 200
        slowest = max(slowest, time.monotonic() - asked)
        time.sleep(0.05)

    assert slowest < scaled(2)
    assert [client.ask("/health/live").status for client in silent] == [200] * 3


SYN_RECV = "03"


def is_hidden(client: socket.socket) -> bool:
    """Return whether *client* is connected, and the kernel keeps it from the listener."""
    mine, its = (f":{name[1]:04X}" for name in (client.getsockname(), client.getpeername()))
    rows = [line.split()[1:4] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [
        state for here, there, state in rows if here.endswith(its) and there.endswith(mine)
    ] == [SYN_RECV]


def test_a_worker_that_stops_does_not_leave_defer_accept_off(serve: Callable[..., Service]) -> None:
    """It clears the option for all workers, and no new worker sets it again."""
    service = serve()
    workers_of(service, 2)
    os.kill(service.arbiter, signal.SIGTTOU)
    workers_of(service, 1)

    def is_accepted_with_its_request() -> bool:
        with socket.create_connection(("127.0.0.1", service.port), timeout=scaled(20)) as client:
            return is_hidden(client)

    wait_until(is_accepted_with_its_request)


@pytest.fixture(name="indexes")
def _indexes() -> Iterator[tuple[int, int]]:
    """Two worker indexes of the real scoreboard, as an arbiter assigns them."""
    mine, other = SCOREBOARD.assign_index(), SCOREBOARD.assign_index()
    assert mine is not None
    assert other is not None
    yield mine, other
    SCOREBOARD.release_index(mine)
    SCOREBOARD.release_index(other)


def test_a_worker_accepts_while_no_other_has_a_free_thread(indexes: tuple[int, int]) -> None:
    assert not AcceptBalancer(indexes[0]).should_yield()


def test_a_busy_worker_yields_to_one_whose_loop_runs(indexes: tuple[int, int]) -> None:
    mine, other = AcceptBalancer(indexes[0]), AcceptBalancer(indexes[1])
    other.set_free_thread(True)

    for _ in range(3):
        assert mine.should_yield()
        other.heartbeat()


def test_a_busy_worker_yields_briefly_to_one_whose_loop_stands(indexes: tuple[int, int]) -> None:
    """Then it accepts, until the loop of the other one runs again."""
    start = time.monotonic()
    moment = iter([start + after for after in (0.0, 0.03, 0.06, 0.07, 9.0, 9.01)])
    mine, other = AcceptBalancer(indexes[0], clock=lambda: next(moment)), AcceptBalancer(indexes[1])
    other.set_free_thread(True)

    yielded = [mine.should_yield() for _ in range(4)]
    other.heartbeat()

    assert yielded == [True, True, False, False]
    assert [mine.should_yield() for _ in range(2)] == [True, True]


def test_a_worker_without_an_index_accepts(indexes: tuple[int, int]) -> None:
    AcceptBalancer(indexes[1]).set_free_thread(True)
    unlisted = AcceptBalancer(None)
    unlisted.heartbeat()
    unlisted.set_free_thread(True)

    assert not unlisted.should_yield()
