"""
Misbehaving clients, some dozens of each kind, in one process.

`python -m benchmarks.probekit.clients HOST PORT` with a JSON object of kinds on standard input;
they run until standard input ends. A dot is printed once all of them are connected.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["KINDS", "Crowd"]

KINDS: Final = ("silent", "half_sent", "lingering", "pollers", "busy")
_READ_BYTES: Final = 65536
_LINGER_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 0.02


@dataclass(slots=True)
class _Client:
    kind: str
    sock: socket.socket | None = None
    again_at: float = 0.0
    ended: bool = field(default=False)


class Crowd:
    """
    Keeps all clients running; a disconnected client connects again.

    silent: connect, and send nothing. half_sent: stop in the middle of a head. lingering: read the
    response and keep the connection open. pollers: send requests without pause. busy: the same, to
    a path that occupies a thread.
    """

    def __init__(self, host: str, port: int, counts: dict[str, int], paths: dict[str, str]) -> None:
        self._address = socket.gethostbyname(host), port
        self._paths = paths
        self._host = host
        self._poller = selectors.DefaultSelector()
        self._clients = [_Client(kind) for kind in KINDS for _ in range(counts.get(kind, 0))]

    def turn(self) -> bool:
        """Handle events that are due; return whether all clients are connected."""
        now = time.monotonic()
        for client in self._clients:
            if client.sock is None and now >= client.again_at:
                self._connect(client)
            elif client.ended and now >= client.again_at:
                self._leave(client, 0.0)
        for key, _ in self._poller.select(0.01):
            self._on_event(key.data)
        return all(client.sock is not None for client in self._clients)

    def watch(self, stream: Any) -> None:
        """Have `turn` end early when *stream* has something to read."""
        self._poller.register(stream, selectors.EVENT_READ, None)

    def _connect(self, client: _Client) -> None:
        try:
            client.sock = socket.create_connection(self._address, timeout=0.5)
            client.sock.sendall(self._greeting(client.kind))
            client.sock.setblocking(False)
        except OSError:
            if client.sock is not None:
                client.sock.close()
            client.sock, client.again_at = None, time.monotonic() + 0.2
            return
        self._poller.register(client.sock, selectors.EVENT_READ, client)

    def _greeting(self, kind: str) -> bytes:
        path = self._paths.get(kind, "/health/live")
        whole = f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nConnection: close\r\n\r\n".encode()
        if kind == "silent":
            return b""
        return whole[: len(whole) // 2] if kind == "half_sent" else whole

    def _on_event(self, client: _Client | None) -> None:
        if client is None or client.sock is None:
            return
        try:
            data = client.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            return
        if client.kind == "lingering":
            # The server has closed its side; this client keeps its own side open for a while.
            self._poller.unregister(client.sock)
            client.ended, client.again_at = True, time.monotonic() + _LINGER_SECONDS
        else:
            self._poller.unregister(client.sock)
            self._leave(client, 0.0 if client.kind in ("pollers", "busy") else _AGAIN_SECONDS)

    @staticmethod
    def _leave(client: _Client, pause: float) -> None:
        if client.sock is not None:
            client.sock.close()
        client.sock, client.ended = None, False
        client.again_at = time.monotonic() + pause


def main() -> None:
    given = json.loads(sys.stdin.readline())
    crowd = Crowd(sys.argv[1], int(sys.argv[2]), given["counts"], given["paths"])
    announced = False
    over = selectors.DefaultSelector()
    over.register(sys.stdin, selectors.EVENT_READ)
    while not over.select(0):
        if crowd.turn() and not announced:
            announced = True
            print(".", flush=True)


if __name__ == "__main__":
    main()
