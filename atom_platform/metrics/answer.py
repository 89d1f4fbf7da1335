"""One request on its way: the server's `start_response`, and the body as the server reads it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Protocol

from atom_platform.logs.context import CURRENT_SCOPE, NOTHING, Exchange
from atom_platform.metrics.statuses import STATUS_CODES, code_of
from atom_platform.metrics.whole import AbortCounter, Whole, close_within, note_late_hang_up

__all__ = ["Answer", "Observer", "begun"]

#: A file up to this size is read like any other body and so counted before its last byte leaves; a
#: larger one is left to the server's sendfile and counted when that is done.
SMALL_FILE_BYTES: Final = 64 * 1024
_UNKNOWN: Final = float("inf")
_enter: Final = CURRENT_SCOPE.set
_leave: Final = CURRENT_SCOPE.reset

Environ = dict[str, Any]


class Observer(AbortCounter, Protocol):
    """What an answer tells its end to."""

    def endpoint_of(self, environ: Environ) -> str: ...
    def record(self, answer: Answer) -> None: ...


class Answer(Exchange):
    """
    A request, from the call of the application to the end of the response body.

    It tells its observer once, before the last byte of the body is handed to the server.

    Attributes:
        environ: The WSGI environment.
        status: The code that the client gets; 500 if the application failed before it sent
            anything.
        endpoint: The URL rule that matched.
        body_bytes: The length of the body handed over so far.
        started: When the server called, by `perf_counter`.
    """

    __slots__ = (
        "_body",
        "_finished",
        "_first",
        "_length",
        "_next",
        "_observer",
        "_server_start",
        "_server_write",
        "_under_way",
        "body_bytes",
        "endpoint",
        "environ",
        "started",
        "status",
    )

    environ: Environ
    status: int
    endpoint: str
    body_bytes: int
    started: float
    _observer: Observer
    _server_start: Callable[..., Any]
    _server_write: Callable[[bytes], Any]
    _next: Callable[[], bytes]
    _body: Iterable[bytes]
    _first: bytes | None
    _length: float
    _finished: bool
    _under_way: bool

    if not TYPE_CHECKING:
        # `begun` does its work: a constructor in Python costs half a microsecond of every request.
        __init__ = object.__init__

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], Any]:
        """Stand in for the server's function of that name."""
        self.status = STATUS_CODES.get(status) or code_of(status)
        # Now, because Flask forgets the request before the body is read.
        try:
            self.endpoint = self.environ["werkzeug.request"].url_rule.rule
        except (KeyError, AttributeError):
            self.endpoint = self._observer.endpoint_of(self.environ)
        request_id, theirs = self.request_id, False
        self._length = _UNKNOWN
        for name, value in headers:
            # Lengths first: cheaper than the comparison, and this runs for every header.
            size = len(name)
            if size == 14:
                if (name == "Content-Length" or name.lower() == "content-length") and (
                    value.isdigit()
                ):
                    self._length = int(value)
            elif size == 12 and name != "Content-Type" and name.lower() == "x-request-id":
                theirs = True
        if request_id:
            if theirs:
                headers = [pair for pair in headers if pair[0].lower() != "x-request-id"]
            headers = [*headers, ("X-Request-ID", request_id)]
        if exc_info is None:
            self._server_write = self._server_start(status, headers)
        else:
            self._server_write = self._server_start(status, headers, exc_info)
        return self._write

    def _write(self, data: bytes) -> Any:
        self.body_bytes += len(data)
        self._under_way = True
        return self._server_write(data)

    def take(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Return *body* as the server is to get it. Called with the request's scope in place."""
        if type(body) is tuple or type(body) is list:
            if self.status:
                self.body_bytes += sum(map(len, body))
                self._finish()
                return body
        elif self._length > SMALL_FILE_BYTES and (
            type(body) is self.environ.get("wsgi.file_wrapper")
        ):
            return self._leave_to_server(body)
        pieces = iter(body)
        self._body = body
        if self._length == _UNKNOWN:
            self._next = pieces.__next__
            return self
        # A body of known length is mostly one piece. Taken now, it needs no further look at it.
        first = next(pieces, b"")
        size = self.body_bytes + len(first)
        if size < self._length:
            self._next = pieces.__next__
            self._first = first
            return self
        self.body_bytes = size
        self._finish()
        whole = Whole((first,))
        whole.body, whole.scope, whole.counter = body, self, self._observer
        return whole

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        first = self._first
        if first:
            self._first = None
            chunk = first
        else:
            around = _enter(self)
            try:
                chunk = self._next()
            except StopIteration:
                self._finish()
                raise
            except BaseException as error:
                self.fail(error)
                raise
            finally:
                _leave(around)
        self.body_bytes += len(chunk)
        if self.body_bytes >= self._length:
            self._finish()
        self._under_way = True
        return chunk

    def close(self) -> None:
        """End it; the server calls this in any case, also when the client has gone."""
        if not self._finished:
            self._cut_off()
        else:
            note_late_hang_up(self._observer)
        close_within(self, self._body)

    def fail(self, error: BaseException) -> None:
        """Account for *error* on its way to the server: a 500, or a body cut off in the middle."""
        if self._finished:
            return
        self.exception = error
        if self._under_way:
            self._abort("error")
        else:
            self.status = 500
        self._finish()

    def _cut_off(self) -> None:
        """The server stopped reading: the client hung up, or the worker is being ended."""
        if self.environ["REQUEST_METHOD"] != "HEAD" and self.status not in (204, 304):
            error = sys.exception()
            hung_up = error is None or isinstance(error, (OSError, GeneratorExit))
            self._abort("disconnect" if hung_up else "error")
        self._finish()

    def _abort(self, reason: str) -> None:
        self.aborted = reason
        self._observer.count_aborted(reason)

    def _leave_to_server(self, body: Any) -> Iterable[bytes]:
        close = getattr(body, "close", None)

        def closed() -> None:
            if not self._finished and sys.exception() is None:
                self.body_bytes = int(self._length) if self._length != _UNKNOWN else 0
                self._finish()
            elif not self._finished:
                self._cut_off()
            if close is not None:
                close()

        body.close = closed
        return body  # type: ignore[no-any-return]  # a file wrapper, as the caller has seen

    def _finish(self) -> None:
        if not self._finished:
            self._finished = True
            self._observer.record(self)


def begun(observer: Observer, environ: Environ, start_response: Callable[..., Any]) -> Answer:
    """Return the answer to a request that the server has just handed over."""
    answer = Answer()
    answer.fields = NOTHING
    answer.around = answer.owner = answer.trace = answer.notes = answer.exception = None
    answer.request_id = answer.aborted = answer.endpoint = ""
    answer.db_queries = answer.body_bytes = answer.status = answer.db_seconds = 0
    answer.environ = environ
    answer.started = perf_counter()
    answer._observer = observer
    answer._server_start = start_response
    answer._first = None
    answer._length = _UNKNOWN
    answer._finished = answer._under_way = False
    return answer
