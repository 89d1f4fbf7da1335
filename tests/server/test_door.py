"""A listener lets clients in when they say what they want."""

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

from atom_platform.server.door import Door
from tests.polling import wait_until
from tests.server.client import Client
from tests.server.load import workers_of
from tests.service import Service

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
    return sockets.enter_context(socket.create_connection(listener.getsockname(), timeout=20))


def hears_knock(listener: socket.socket) -> bool:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(20_000))


def test_a_client_is_let_in_with_its_request(listener: socket.socket, sockets: ExitStack) -> None:
    door = Door(listener)
    client = client_of(listener, sockets)
    with pytest.raises(BlockingIOError):
        door.accept()

    client.send(REQUEST)
    assert hears_knock(listener)
    sock, address = door.accept()

    assert sockets.enter_context(sock).recv(100, socket.MSG_DONTWAIT) == REQUEST
    assert address == client.getsockname()
    assert door.address == listener.getsockname()


def test_one_that_says_nothing_is_let_in_after_a_while(
    listener: socket.socket, sockets: ExitStack
) -> None:
    """It may be a client that opens its connections beforehand."""
    door = Door(listener)
    client = client_of(listener, sockets)

    assert hears_knock(listener)

    sock, address = door.accept()
    assert sockets.enter_context(sock).getpeername() == address == client.getsockname()


def test_at_the_closing_all_are_let_in(listener: socket.socket, sockets: ExitStack) -> None:
    """Who comes at once, and who came before when the request comes."""
    door = Door(listener)
    before = client_of(listener, sockets)

    door.let_all_in()
    after = client_of(listener, sockets)
    sock, address = door.accept()
    sockets.enter_context(sock)

    assert address == after.getsockname()
    before.send(REQUEST)
    assert hears_knock(listener)
    sock, address = door.accept()
    assert sockets.enter_context(sock).recv(100) == REQUEST


def test_a_new_worker_waits_for_requests_again(listener: socket.socket, sockets: ExitStack) -> None:
    Door(listener).let_all_in()

    door = Door(listener)

    client_of(listener, sockets)
    with pytest.raises(BlockingIOError):
        door.accept()


def test_a_unix_socket_is_a_door_too(
    sockets: ExitStack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = str(tmp_path_factory.mktemp("s") / "s")
    listener = sockets.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(path)
    listener.listen()
    door = Door(listener)
    client = sockets.enter_context(socket.socket(socket.AF_UNIX))
    client.connect(path)

    sock, _ = door.accept()

    assert sockets.enter_context(sock).getsockname() == path


@pytest.mark.parametrize("seconds", [0.0, 5.0])
def test_a_default_timeout_is_not_for_its_connections(
    listener: socket.socket, sockets: ExitStack, seconds: float
) -> None:
    """Python waits that long for something to read even if it is told not to wait."""
    door = Door(listener)
    client_of(listener, sockets).send(REQUEST)
    assert hears_knock(listener)
    socket.setdefaulttimeout(seconds)
    try:
        sock, _ = door.accept()
    finally:
        socket.setdefaulttimeout(None)

    sockets.enter_context(sock)
    assert sock.gettimeout() is None
    assert os.get_blocking(sock.fileno())


def test_a_silent_client_holds_up_nobody_whatever_the_applications_default_timeout(
    serve: Callable[..., Service], connect: Callable[[Service], Client]
) -> None:
    service = serve(app="tests.server.impatient_application:app", env={"WEB_CONCURRENCY": "1"})
    silent = [connect(service) for _ in range(3)]
    slowest, until = 0.0, time.monotonic() + 2  # they are let in after a second
    while time.monotonic() < until:
        asked = time.monotonic()
        assert service.get("/health/live").status == 200
        slowest = max(slowest, time.monotonic() - asked)
        time.sleep(0.05)

    assert slowest < 2
    assert [client.ask("/health/live").status for client in silent] == [200] * 3


SYN_RECV = "03"


def is_outside(client: socket.socket) -> bool:
    """Return whether the kernel has not yet let *client* in, although it is connected."""
    mine, its = (f":{name[1]:04X}" for name in (client.getsockname(), client.getpeername()))
    rows = [line.split()[1:4] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [
        state for here, there, state in rows if here.endswith(its) and there.endswith(mine)
    ] == [SYN_RECV]


def test_a_worker_that_leaves_does_not_leave_the_door_open(serve: Callable[..., Service]) -> None:
    """It opens it for who stands outside; and nobody takes this one's place."""
    service = serve()
    workers_of(service, 2)
    os.kill(service.arbiter, signal.SIGTTOU)
    workers_of(service, 1)

    def comes_and_stands_outside() -> bool:
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
            return is_outside(client)

    wait_until(comes_and_stands_outside)
