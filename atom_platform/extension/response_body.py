"""
The response body as the server gets it: counted before its last byte leaves, closed once.

Most bodies are one piece of known length. The server gets those as a list and runs no code of ours
until it closes them. If werkzeug holds such a body, its own iterator is not run either.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from atom_platform.extension._compat_werkzeug import whole_body_of
from atom_platform.extension.active_request import UNKNOWN_LENGTH, ActiveRequest
from atom_platform.logs.context import CURRENT_SCOPE

__all__ = ["observed_body"]

#: A file up to this size is read like any other body, and counted before its last byte leaves. A
#: larger one is left to the server's sendfile and counted when that is done.
SMALL_FILE_BYTES: Final = 64 * 1024
_enter: Final = CURRENT_SCOPE.set
_leave: Final = CURRENT_SCOPE.reset


def observed_body(request: ActiveRequest, body: Iterable[bytes]) -> Iterable[bytes]:
    """
    Return *body* as the server is to get it; the request's log scope must be in place.

    Raises:
        Exception: Whatever the body raises for its first piece; the body has been closed then.
    """
    pieces = whole_body_of(body)
    if pieces is not None and request.status:
        request.body_bytes += len(pieces[0])
        request.finished = True  # as `finish` does, without a call
        request.observer.record(request)
        counted = CountedBody(pieces)
        counted.request = request
        return counted
    length = request.announced_length()
    if (type(body) is list or type(body) is tuple) and request.status:
        request.body_bytes += sum(map(len, body))
        whole, rest = WholeBody(body), iter(body)
    elif UNKNOWN_LENGTH > length > SMALL_FILE_BYTES and _is_file(request, body):
        return request.finish_at_close(body)
    else:
        try:
            rest = iter(body)
            if length == UNKNOWN_LENGTH:
                return StreamedBody(request, body, rest, length=length)
            # A body of known length is mostly one piece. Taken now, it needs no look at each piece.
            first = next(rest, b"")
        except BaseException:
            _close_in_scope(request, body)  # the server never sees it
            raise
        if request.body_bytes + len(first) < length:
            return StreamedBody(request, body, rest, length=length, first=first)
        request.body_bytes += len(first)
        whole = WholeBody((first,))
    request.finish()
    whole.request, whole.body, whole.rest = request, body, rest
    return whole


class CountedBody(list[bytes]):
    """
    A body that is known to its end, and counted. `observed_body` sets the attribute.

    Attributes:
        request: The request that it answers.
    """

    __slots__ = ("request",)

    request: ActiveRequest

    def close(self) -> None:
        """Count a client that has disconnected."""
        _count_late_disconnect(self.request)


class WholeBody(CountedBody):
    """
    A body that is counted while the application may still have something to do at its end.

    Attributes:
        body: The application's.
        rest: The iterator over *body*, whose next call ends the application's generator.
    """

    __slots__ = ("body", "rest")

    body: Iterable[bytes]
    rest: Iterator[bytes]

    def close(self) -> None:
        """Run what the application does after its last piece, and close its body."""
        around = _enter(self.request)
        try:
            if sys.exception() is None:
                for _ in self.rest:
                    pass
            else:
                _count_late_disconnect(self.request)
        finally:
            try:
                close = getattr(self.body, "close", None)
                if close is not None:
                    close()
            finally:
                _leave(around)


class StreamedBody:
    """
    A body that the server reads piece by piece.

    Args:
        pieces: The iterator over *body*.
        length: The length of the whole body in bytes as announced; infinite if it was not.
        first: A piece that has been taken from *pieces* already.
    """

    __slots__ = ("_body", "_first", "_headers", "_length", "_next", "_request")

    def __init__(
        self,
        request: ActiveRequest,
        body: Iterable[bytes],
        pieces: Iterator[bytes],
        *,
        length: float,
        first: bytes = b"",
    ) -> None:
        self._request = request
        self._body = body
        self._next: Callable[[], bytes] = pieces.__next__
        self._first = first
        self._headers = request.headers
        self._length = length

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        request = self._request
        if self._first:
            piece, self._first = self._first, b""
        else:
            around = _enter(request)
            try:
                piece = self._next()
            except StopIteration:
                request.finish()
                raise
            except BaseException as error:
                request.fail(error)
                raise
            finally:
                _leave(around)
            if request.headers is not self._headers:  # `start_response` was called only now
                self._headers, self._length = request.headers, request.announced_length()
        request.body_bytes += len(piece)
        if request.body_bytes >= self._length:
            request.finish()
        request.under_way = True
        return piece

    def close(self) -> None:
        """End the body. The server calls this in any case, also after a disconnect."""
        if self._request.finished:
            _count_late_disconnect(self._request)
        else:
            self._request.abort()
        _close_in_scope(self._request, self._body)


def _is_file(request: ActiveRequest, body: object) -> bool:
    """Return whether the server sends *body* by itself."""
    return type(body) is request.environ.get("wsgi.file_wrapper")


def _count_late_disconnect(request: ActiveRequest) -> None:
    """Count a client that disconnected after the request was counted and its line written."""
    if isinstance(sys.exception(), OSError):
        request.observer.count_aborted("disconnect")


def _close_in_scope(request: ActiveRequest, body: Iterable[bytes]) -> None:
    """Close *body*, if it has a `close`; lines logged meanwhile carry the request's fields."""
    close = getattr(body, "close", None)
    if close is not None:
        around = _enter(request)
        try:
            close()
        finally:
            _leave(around)
