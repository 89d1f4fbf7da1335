"""One request on its way: what stands in for the server's `start_response`, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from atom_platform.logs.context import RequestScope
from atom_platform.metrics.statuses import STATUS_CODES, code_of

__all__ = ["UNKNOWN", "Answer", "Observer"]

#: The length of a body of which none was announced.
UNKNOWN: Final = float("inf")

Environ = dict[str, Any]
Headers = list[tuple[str, str]]


class Observer(Protocol):
    """What an answer tells its end to."""

    def count_aborted(self, reason: str) -> None: ...
    def endpoint_of(self, environ: Environ) -> str: ...
    def record(self, answer: Answer) -> None: ...


class Answer(RequestScope):
    """
    A request, from the call of the application to the end of the response body.

    It tells its observer once, before the last byte of the body is handed to the server. Whoever
    makes one sets the attributes: a constructor in Python costs every request half a microsecond.

    Attributes:
        environ: The WSGI environment.
        status: The code that the client gets, 0 before the application has said; 500 if it failed
            before it sent anything.
        endpoint: The URL rule that matched.
        headers: The application's; empty before it has said.
        body_bytes: The length of the body handed over so far.
        started: When the server called, by `perf_counter`.
        observer: What is told.
        server_start: The server's `start_response`.
        under_way: Whether any of the body has been handed over.
        finished: Whether the observer has been told.
    """

    __slots__ = (
        "_server_write",
        "body_bytes",
        "endpoint",
        "environ",
        "finished",
        "headers",
        "observer",
        "server_start",
        "started",
        "status",
        "under_way",
    )

    environ: Environ
    status: int
    endpoint: str
    headers: Headers | tuple[()]
    body_bytes: int
    started: float
    observer: Observer
    server_start: Callable[..., Any]
    under_way: bool
    finished: bool
    _server_write: Callable[[bytes], Any]

    if not TYPE_CHECKING:
        __init__ = object.__init__

    def start_response(
        self, status: str, headers: Headers, exc_info: Any = None
    ) -> Callable[[bytes], Any]:
        """Stand in for the server's function of that name."""
        try:
            self.status = STATUS_CODES[status]
        except KeyError:
            self.status = code_of(status)
        # Now, because Flask forgets the request before the body is read.
        try:
            self.endpoint = self.environ["werkzeug.request"].url_rule.rule
        except (KeyError, AttributeError):
            self.endpoint = self.observer.endpoint_of(self.environ)
        self.headers = headers
        request_id = self.request_id
        if request_id:
            for name, _ in headers:
                # The length first: cheaper than the comparison, and this runs for every header.
                if len(name) == 12 and name != "Content-Type" and _is_request_id(name):
                    headers = [pair for pair in headers if not _is_request_id(pair[0])]
                    break
            headers = [*headers, ("X-Request-ID", request_id)]
        if exc_info is None:
            self._server_write = self.server_start(status, headers)
        else:
            self._server_write = self.server_start(status, headers, exc_info)
        return self._write

    def length(self) -> float:
        """Return the length of the body as the application announced it, infinite if it did not."""
        for name, value in self.headers:
            if len(name) == 14 and name.lower() == "content-length" and value.isdigit():
                return int(value)
        return UNKNOWN

    def finish(self) -> None:
        """Tell the observer, if it has not been told."""
        if not self.finished:
            self.finished = True
            self.observer.record(self)

    def fail(self, error: BaseException) -> None:
        """Account for *error* on its way to the server: a 500, or a body cut off in the middle."""
        if self.finished:
            return
        self.ensure_extras().exception = error
        if self.under_way:
            self._abort("error")
        else:
            self.status = 500
        self.finish()

    def cut_off(self) -> None:
        """The server stopped reading: the client hung up, or the worker is being ended."""
        if self.environ["REQUEST_METHOD"] != "HEAD" and self.status not in (204, 304):
            error = sys.exception()
            hung_up = error is None or isinstance(error, (OSError, GeneratorExit))
            self._abort("disconnect" if hung_up else "error")
        self.finish()

    def leave_to_server(self, body: Any) -> Iterable[bytes]:
        """Return *body*, a file that the server sends by itself, with its end told by its close."""
        close = getattr(body, "close", None)

        def closed() -> None:
            if not self.finished and sys.exception() is None:
                length = self.length()
                self.body_bytes = int(length) if length != UNKNOWN else 0
                self.finish()
            elif not self.finished:
                self.cut_off()
            if close is not None:
                close()

        body.close = closed
        return body  # type: ignore[no-any-return]  # a file wrapper, as the caller has seen

    def _write(self, data: bytes) -> Any:
        self.body_bytes += len(data)
        self.under_way = True
        return self._server_write(data)

    def _abort(self, reason: str) -> None:
        self.ensure_extras().aborted = reason
        self.observer.count_aborted(reason)


def _is_request_id(name: str) -> bool:
    return name.lower() == "x-request-id"
