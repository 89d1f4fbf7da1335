"""One request on its way: the server's `start_response`, and the body as the server reads it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

from atom_platform.logs.context import CURRENT_SCOPE, NOTHING, Exchange, Scope

__all__ = ["Answer", "Observer"]

#: A file up to this size is read like any other body and so counted before its last byte leaves; a
#: larger one is left to the server's sendfile and counted when that is done.
SMALL_FILE_BYTES: Final = 64 * 1024
_UNKNOWN: Final = float("inf")

Environ = dict[str, Any]


class Observer(Protocol):
    """What an answer tells its end to."""

    def endpoint_of(self, environ: Environ) -> str: ...
    def count_aborted(self, reason: str) -> None: ...
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
        duration_seconds: Set at the end.
        scope: The log fields bound while the application runs for this request.
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
        "_started",
        "_under_way",
        "body_bytes",
        "duration_seconds",
        "endpoint",
        "environ",
        "status",
    )

    _first: bytes | None

    def __init__(
        self, observer: Observer, environ: Environ, start_response: Callable[..., Any]
    ) -> None:
        self._started = time.perf_counter()
        # Not super().__init__(): another call for every request.
        self.fields = NOTHING
        self.around = self.owner = self.trace = self.notes = self.exception = self._first = None
        self.request_id = self.aborted = self.endpoint = ""
        self.db_queries = self.body_bytes = self.status = self.db_seconds = 0
        self.environ = environ
        self._observer = observer
        self._server_start = start_response
        self._length = _UNKNOWN
        self._finished = self._under_way = False

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], Any]:
        """Stand in for the server's function of that name."""
        code = status[:3]
        self.status = int(code) if code.isdigit() else 500  # the server refuses others
        # Now, because Flask forgets the request before the body is read.
        try:
            self.endpoint = self.environ["werkzeug.request"].url_rule.rule
        except (KeyError, AttributeError):
            self.endpoint = self._observer.endpoint_of(self.environ)
        request_id = self.request_id
        self._length = _UNKNOWN
        for name, value in headers:
            # Lengths first: cheaper than the comparison, and this runs for every header.
            size = len(name)
            if size == 14:
                if name.lower() == "content-length" and value.isdigit():
                    self._length = int(value)
            elif size == 12 and request_id and name.lower() == "x-request-id":
                headers = [pair for pair in headers if pair[0].lower() != "x-request-id"]
        if request_id:
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
        elif (
            type(body) is self.environ.get("wsgi.file_wrapper") and self._length > SMALL_FILE_BYTES
        ):
            return self._leave_to_server(body)
        self._next = iter(body).__next__
        self._body = body
        if self._length == _UNKNOWN:
            return self
        # A body of known length is mostly one piece. Taken now, it needs no further look at it.
        try:
            first = self._next()
        except StopIteration:
            first = b""
        if self.body_bytes + len(first) < self._length:
            self._first = first
            return self
        self.body_bytes += len(first)
        self._finish()
        whole = Whole((first,))
        whole.body, whole.scope = body, self
        return whole

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        first = self._first
        if first:
            self._first = None
            chunk = first
        else:
            scope = CURRENT_SCOPE.set(self)
            try:
                chunk = self._next()
            except StopIteration:
                self._finish()
                raise
            except BaseException as error:
                self.fail(error)
                raise
            finally:
                CURRENT_SCOPE.reset(scope)
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
            self.note_late_hang_up()
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

    def note_late_hang_up(self) -> None:
        """Count a client that hung up when it had been sent the last piece; its line is written."""
        if isinstance(sys.exception(), OSError):
            self._observer.count_aborted("disconnect")

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
            self.duration_seconds = time.perf_counter() - self._started
            self._observer.record(self)


class Whole(list[bytes]):
    """A body in one piece, which the server reads without any more of our code."""

    __slots__ = ("body", "scope")

    body: Iterable[bytes]
    scope: Answer

    def close(self) -> None:
        """Close the application's body."""
        self.scope.note_late_hang_up()
        close_within(self.scope, self.body)


def close_within(scope: Scope, body: Iterable[bytes]) -> None:
    """Close *body*, if it wants to be, with the lines of that carrying the fields of *scope*."""
    close = getattr(body, "close", None)
    if close is not None:
        around = CURRENT_SCOPE.set(scope)
        try:
            close()
        finally:
            CURRENT_SCOPE.reset(around)
