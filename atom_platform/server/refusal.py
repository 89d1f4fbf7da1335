"""
gunicorn's own answers to what it cannot read, with the id that their access line has.

It writes them straight to the socket, so that is where the headers are added.
"""

from __future__ import annotations

from typing import Any

from atom_platform.ids import new_id
from atom_platform.logs.gunicorn import REJECTED_REQUEST, RejectedRequest

__all__ = ["Refusal"]


class Refusal:
    """The socket *sock* while gunicorn answers for itself on it; a context manager."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._refused = RejectedRequest(new_id())
        self._begun = False

    def __enter__(self) -> Refusal:
        self._token = REJECTED_REQUEST.set(self._refused)
        return self

    def __exit__(self, *_: object) -> None:
        REJECTED_REQUEST.reset(self._token)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendall(self, data: bytes) -> None:
        """Send *data*; the first of it begins with the head of an answer."""
        if not self._begun:
            self._begun = True
            line, separator, rest = data.partition(b"\r\n")
            headers = b"Cache-Control: no-store\r\n"
            if self._refused.observed:
                headers += f"X-Request-ID: {self._refused.request_id}\r\n".encode("ascii")
            data = line + separator + headers + rest
        self._sock.sendall(data)
