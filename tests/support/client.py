"""A client that sends what it is told to, well-formed or not."""

from __future__ import annotations

import socket
from dataclasses import dataclass

__all__ = ["Client", "Reply", "get"]


def get(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode()


@dataclass(frozen=True, slots=True)
class Reply:
    """One response; header names in lower case."""

    status: int
    reason: str
    version: str
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection; every wait has the socket's timeout."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def ask(self, path: str, *headers: str, method: str = "GET", version: str = "1.1") -> Reply:
        self.send(get(path, *headers, method=method, version=version))
        return self.reply(head_only=method == "HEAD")

    def reply(self, *, head_only: bool = False) -> Reply:
        """Read one response with a Content-Length."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        version, status, reason = first.split(" ", 2)
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        length = 0 if head_only else int(headers.get("content-length", 0))
        while len(self._buffer) < length:
            self._more()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Reply(int(status), reason, version, headers, body)

    def is_closed(self) -> bool:
        """Wait for what comes next; return whether it is the end, with nothing before it."""
        try:
            return not self._buffer and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def _more(self) -> None:
        piece = self.sock.recv(65_536)
        if not piece:
            raise ConnectionError(f"closed after {self._buffer!r}")
        self._buffer += piece
