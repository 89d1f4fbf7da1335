"""The kit against a server that holds whoever it accepts until told to answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from benchmarks.probekit.faults import crowded, latency
from tests.support.polling import wait_until

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class Holding:
    """Accepts, keeps what was sent, and answers whole requests unless told to hang."""

    def __init__(self) -> None:
        self.hangs = False
        self.heard: list[bytes] = []
        self._socks: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()
        for sock in self._socks:
            sock.close()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(0.2)
            try:
                data = sock.recv(4096)
            except OSError:
                data = b""
            self.heard.append(data)
            if data.endswith(b"\r\n\r\n") and not self.hangs:
                sock.sendall(ANSWER)
                sock.close()
            else:
                self._socks.append(sock)


@pytest.fixture(name="server")
def _server() -> Iterator[Holding]:
    server = Holding()
    yield server
    server.close()


def test_an_answered_probe_is_timed(server: Holding) -> None:
    found = latency(f"http://127.0.0.1:{server.port}/health/live", rate=20, seconds=0.5)

    assert found["probes"] == 10
    assert found["failed"] == 0
    assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"] < 2000


def test_a_probe_without_answer_counts_with_its_timeout(server: Holding) -> None:
    """Left out, a server that hangs would look faster than one that is slow."""
    server.hangs = True

    found = latency(f"http://127.0.0.1:{server.port}/", rate=10, seconds=0.3, timeout=0.5)

    assert found["failed"] == found["probes"] == 3
    assert found["p50_ms"] >= 500


def test_clients_do_what_their_kind_says(server: Holding) -> None:
    with crowded(f"http://127.0.0.1:{server.port}/", {"silent": 2, "half_sent": 2}):
        wait_until(lambda: len(server.heard) >= 4)

    assert server.heard[:4].count(b"") == 2
    halves = [data for data in server.heard[:4] if data]
    assert all(b"GET /" in data and not data.endswith(b"\r\n\r\n") for data in halves)
