"""A TCP relay that causes the faults of networks."""

from __future__ import annotations

import contextlib
import select
import socket
import threading

from tests.support.stalls import scaled

__all__ = ["Relay"]


class Relay:
    """
    Forwards a loopback port to a server, until told otherwise.

    What was accepted or sent into a silence stays unanswered for good, as on a half-open
    connection: the end of the silence is for new connections only.

    Attributes:
        port: Where to connect.
        accepted: How many connections it took so far.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self._silent = False
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def fall_silent(self) -> None:
        """Accept, acknowledge, and forward nothing."""
        with self._lock:
            self._silent = True
            for pair in self._pairs:
                pair.frozen.set()

    def speak(self) -> None:
        """Forward what connects from now on."""
        self._silent = False

    def freeze_open(self) -> None:
        """Forward nothing on the connections that are open; new ones work."""
        with self._lock:
            for pair in self._pairs:
                pair.frozen.set()

    @property
    def open(self) -> int:
        """How many clients have not closed their end."""
        with self._lock:
            self._pairs = [pair for pair in self._pairs if not pair.ended.is_set()]
            return len(self._pairs)

    def close(self) -> None:
        """End every connection and stop listening."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(scaled(5))
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.stop()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            with self._lock:
                self._pairs.append(_Pair(client, self._target_port, frozen=self._silent))


class _Pair:
    """One client, and its server unless the relay is silent."""

    def __init__(self, client: socket.socket, target_port: int, *, frozen: bool) -> None:
        self._client = client
        self.frozen = threading.Event()
        self.ended = threading.Event()
        self._stopped = False
        if frozen:
            self.frozen.set()
        self._thread = threading.Thread(target=self._run, args=(target_port,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped = True
        self._thread.join(scaled(5))

    def _run(self, target_port: int) -> None:
        server: socket.socket | None = None
        try:
            if not self.frozen.is_set():
                server = socket.create_connection(("127.0.0.1", target_port))
            self._forward(server)
        except OSError:
            pass
        finally:
            self.ended.set()
            self._client.close()
            if server is not None:
                server.close()

    def _forward(self, server: socket.socket | None) -> None:
        """Copy both ways; once frozen only watch for the client to leave."""
        while not self._stopped:
            frozen = self.frozen.is_set() or server is None
            watched = [self._client] if frozen or server is None else [self._client, server]
            for source in select.select(watched, [], [], 0.05)[0]:
                data = source.recv(65536)
                if not data:
                    return
                if not frozen and not self.frozen.is_set() and server is not None:
                    (server if source is self._client else self._client).sendall(data)
