"""
The response body as the server gets it: counted before its last byte leaves, closed once.

Most bodies are one piece of known length: the server reads a list and runs no code of ours. A
client that disconnects is noticed by the server's logger where that is ours, otherwise by `close`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

from werkzeug.wrappers import Response
from werkzeug.wsgi import ClosingIterator

from atom_platform.extension.active_request import UNKNOWN_LENGTH, ActiveRequest
from atom_platform.logs.context import CURRENT_SCOPE
from atom_platform.metrics.instruments import count_aborted

__all__ = ["count_disconnects_by_server", "observed_body", "piece_of", "whole_body"]

#: In the environment of a request whose body notices by its close that the client hung up.
CLOSE_NOTICES: Final = "atom.close_notices"


class AbortCounter(Protocol):
    """What counts answers that were cut off."""

    def count_aborted(self, reason: str) -> None: ...


def count_late_disconnect(counter: AbortCounter) -> None:
    """Count a client that hung up when it had been sent the last piece; its line is written."""
    if isinstance(sys.exception(), OSError):
        counter.count_aborted("disconnect")


class Server:
    """
    What runs this process.

    Attributes:
        tells: Whether it calls what `count_disconnects_by_server` returned.
    """

    __slots__ = ("tells",)

    def __init__(self) -> None:
        self.tells = False


SERVER: Final = Server()


def count_disconnects_by_server() -> Callable[[dict[str, Any]], None]:
    """
    Have the server tell of clients that hang up, and return what it has to call.

    While it handles the error, with the environment of the request, whoever answered it.
    """
    SERVER.tells = True
    return _disconnected


def _disconnected(environ: dict[str, Any]) -> None:
    observed = "atom.request_id" in environ and CLOSE_NOTICES not in environ
    if observed and isinstance(sys.exception(), OSError):
        count_aborted("disconnect")


#: A file up to this size is read like any other body and so counted before its last byte leaves; a
#: larger one is left to the server's sendfile and counted when that is done.
SMALL_FILE_BYTES: Final = 64 * 1024
_enter: Final = CURRENT_SCOPE.set
_leave: Final = CURRENT_SCOPE.reset

#: What makes the body of a werkzeug response; a class that has its own is left to itself.
_MAKERS: Final = ("__call__", "get_app_iter", "get_wsgi_response", "iter_encoded")
_PLAIN: Final[set[type]] = set()
_CLOSE: Final = Response.close
_ENCODER: Final = getattr(Response(b"").iter_encoded(), "gi_code", None)


class Piece(list[bytes]):
    """
    A body in one piece, for a server that does not tell of clients that hang up.

    Attributes:
        answer: The request's.
    """

    __slots__ = ("answer",)

    answer: ActiveRequest

    def close(self) -> None:
        """End it."""
        count_late_disconnect(self.answer.observer)


class Whole(Piece):
    """
    The one piece of a body that has something left to do.

    Attributes:
        body: The application's.
        pieces: The iterator over it, of which nothing more is expected.
    """

    __slots__ = ("body", "pieces")

    body: Iterable[bytes]
    pieces: Iterator[bytes]

    def close(self) -> None:
        """Let the application do what it does after its last piece, and close its body."""
        try:
            if sys.exception() is None:
                self._read_on()
            else:
                count_late_disconnect(self.answer.observer)
        finally:
            close_within(self.answer, self.body)

    def _read_on(self) -> None:
        around = _enter(self.answer)
        try:
            for _ in self.pieces:
                pass
        finally:
            _leave(around)


class Streamed:
    """
    A body in pieces.

    Args:
        pieces: The iterator over *body*.
        first: A piece that has been taken from it already.
        length: Of the whole, as announced; infinite if it was not.
    """

    __slots__ = ("_answer", "_body", "_first", "_headers", "_length", "_next")

    def __init__(
        self,
        answer: ActiveRequest,
        body: Iterable[bytes],
        pieces: Iterator[bytes],
        *,
        length: float,
        first: bytes = b"",
    ) -> None:
        self._answer = answer
        self._body = body
        self._next: Callable[[], bytes] = pieces.__next__
        self._first = first
        self._headers = answer.headers
        self._length = length

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        answer = self._answer
        if self._first:
            chunk, self._first = self._first, b""
        else:
            around = _enter(answer)
            try:
                chunk = self._next()
            except StopIteration:
                answer.finish()
                raise
            except BaseException as error:
                answer.fail(error)
                raise
            finally:
                _leave(around)
            if answer.headers is not self._headers:  # said only now
                self._headers, self._length = answer.headers, answer.length()
        answer.body_bytes += len(chunk)
        if answer.body_bytes >= self._length:
            answer.finish()
        answer.under_way = True
        return chunk

    def close(self) -> None:
        """End it; the server calls this in any case, also when the client has gone."""
        if not self._answer.finished:
            self._answer.abort()
        else:
            count_late_disconnect(self._answer.observer)
        close_within(self._answer, self._body)


def piece_of(body: object) -> list[bytes] | None:
    """
    Return the one piece that *body* has, if it is a response that werkzeug holds whole.

    Such a body has nothing left to do: no generator of the application's runs when it is read, and
    nobody waits for its close. The way to the piece leads through attributes of werkzeug's own;
    where anything about them is not as `Response.get_app_iter` leaves it, the answer is None.
    """
    if type(body) is not ClosingIterator:
        return None
    try:
        callbacks: list[Any] = body._callbacks
        close_pieces, close = callbacks  # only one for HEAD, 204 and 304
        response = close.__self__
        pieces = response.response
        if (
            type(pieces) is list
            and len(pieces) == 1
            and type(pieces[0]) is bytes
            and not response._on_close
            and close.__func__ is _CLOSE
            and close_pieces.__self__.gi_code is _ENCODER
            and (type(response) in _PLAIN or _is_plain(type(response)))
        ):
            return pieces
    except (AttributeError, TypeError, ValueError):
        pass
    return None


def _is_plain(kind: type) -> bool:
    """Return whether responses of *kind* make their bodies as werkzeug's own do."""
    plain = issubclass(kind, Response) and all(
        getattr(kind, name) is getattr(Response, name) for name in _MAKERS
    )
    if plain and len(_PLAIN) < 100:  # an application may make a class for each response
        _PLAIN.add(kind)
    return plain


def whole_body(answer: ActiveRequest, piece: list[bytes]) -> list[bytes]:
    """Return *piece* as the server is to get it."""
    if SERVER.tells:
        return piece
    told = Piece(piece)
    told.answer = answer
    return told


def observed_body(answer: ActiveRequest, body: Iterable[bytes]) -> Iterable[bytes]:
    """Return *body* as the server is to get it. Called with the request's scope in place."""
    if (type(body) is tuple or type(body) is list) and answer.status:
        answer.body_bytes += sum(map(len, body))
        answer.finish()
        return body
    answer.environ[CLOSE_NOTICES] = True
    length = answer.length()
    if length > SMALL_FILE_BYTES and type(body) is answer.environ.get("wsgi.file_wrapper"):
        return answer.finish_at_close(body)
    try:
        pieces = iter(body)
        if length == UNKNOWN_LENGTH:
            return Streamed(answer, body, pieces, length=length)
        # A body of known length is mostly one piece. Taken now, it needs no further look at it.
        first = next(pieces, b"")
    except BaseException:
        close_within(answer, body)  # the server never sees it
        raise
    size = answer.body_bytes + len(first)
    if size < length:
        return Streamed(answer, body, pieces, length=length, first=first)
    answer.body_bytes = size
    answer.finish()
    whole = Whole((first,))
    whole.answer, whole.body, whole.pieces = answer, body, pieces
    return whole


def close_within(answer: ActiveRequest, body: Iterable[bytes]) -> None:
    """Close *body*, if it wants to be, with the lines of that carrying the request's fields."""
    close = getattr(body, "close", None)
    if close is None:
        return
    if not answer.request_id:  # nobody would see the difference
        close()
    else:
        around = _enter(answer)
        try:
            close()
        finally:
            _leave(around)
