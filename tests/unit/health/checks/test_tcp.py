"""tcp_check connects to a port, and its messages repeat nothing of its arguments."""

from __future__ import annotations

import socket

import pytest

from atom_platform.health.check import CheckFailed
from atom_platform.health.checks.tcp import tcp_check
from tests.support.ports import free_port


def test_an_open_port_is_healthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        result = tcp_check("127.0.0.1", server.getsockname()[1])()

    assert (result.healthy, result.message) == (True, "Port open")


def test_a_closed_port_is_refused() -> None:
    with pytest.raises(CheckFailed, match=r"^Port refused the connection$"):
        tcp_check("127.0.0.1", free_port())()


def test_a_full_backlog_is_a_timeout() -> None:
    """A server that has stopped accepting: the kernel drops packets and refuses nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        waiting = []
        for _ in range(3):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            waiting.append(client)

        with pytest.raises(CheckFailed, match=r"^Port timeout$"):
            tcp_check("127.0.0.1", port, timeout_seconds=0.2)()

        for client in waiting:
            client.close()


def test_an_unknown_host_has_a_message_of_its_own() -> None:
    with pytest.raises(CheckFailed, match=r"^Port host not resolvable$"):
        tcp_check("no-such-host.invalid", 80)()
