"""
One request while it is answered: it stands in for the server's `start_response`, and ends once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from atom_platform.extension.labels import STATUS_CODES, code_of
from atom_platform.logs.context import RequestScope

__all__ = ["UNKNOWN_LENGTH", "ActiveRequest", "RequestObserver"]

#: The length of a body whose length the application did not announce.
UNKNOWN_LENGTH: Final = float("inf")

Environ = dict[str, Any]
Headers = list[tuple[str, str]]


class RequestObserver(Protocol):
    """Receives the end of each request: the middleware."""

    def count_aborted(self, reason: str) -> None: ...
    def endpoint_of(self, environ: Environ) -> str: ...
    def record(self, request: ActiveRequest) -> None: ...


class ActiveRequest(RequestScope):
    """
    A request, from the call of the application to the end of the response body.

    The observer receives it once, before the last byte of the body is handed to the server.

    Attributes:
        environ: The WSGI environment.
        status: The status code; 0 before `start_response`, 500 if the application failed first.
        endpoint: The URL rule that matched.
        headers: The application's; empty before `start_response`.
        body_bytes: The length of the body handed to the server so far.
        started: The time of the server's call, by `perf_counter`.
        observer: Receives the end.
        server_start: The server's `start_response`.
        under_way: Whether any part of the body has been handed to the server.
        finished: Whether the observer has received the end.
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

    def __init__(
        self, environ: Environ, server_start: Callable[..., Any], observer: RequestObserver
    ) -> None:
        self.request_id = ""  # as `RequestScope` does; calling its constructor costs more
        self.extras = None
        self.environ = environ
        self.observer = observer
        self.server_start = server_start
        self.status = self.body_bytes = 0
        self.endpoint = ""
        self.headers: Headers | tuple[()] = ()
        self.under_way = self.finished = False
        self.started = time.perf_counter()

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
        if self.request_id:
            for name, _ in headers:
                # Compare lengths first: it is cheaper, and this runs for each header.
                if len(name) == 12 and name.lower() == "x-request-id":
                    headers = [pair for pair in headers if pair[0].lower() != "x-request-id"]
                    break
            headers = [*headers, ("X-Request-ID", self.request_id)]
        if exc_info is None:
            self._server_write = self.server_start(status, headers)
        else:
            self._server_write = self.server_start(status, headers, exc_info)
        return self._write

    def announced_length(self) -> float:
        """Return the body's length in bytes by its header; infinite without one."""
        for name, value in self.headers:
            if len(name) == 14 and name.lower() == "content-length" and value.isdigit():
                return int(value)
        return UNKNOWN_LENGTH

    def finish(self) -> None:
        """Hand the request to the observer, once."""
        if not self.finished:
            self.finished = True
            self.observer.record(self)

    def fail(self, error: BaseException) -> None:
        """Account for *error*, which goes on to the server: a 500, or an aborted body."""
        if self.finished:
            return
        self.ensure_extras().exception = error
        if self.under_way:
            self._abort("error")
        else:
            self.status = 500
        self.finish()

    def abort(self) -> None:
        """Account for a server that stopped reading: the client disconnected or the worker ends."""
        if self.environ["REQUEST_METHOD"] != "HEAD" and self.status not in (204, 304):
            error = sys.exception()
            disconnected = error is None or isinstance(error, (OSError, GeneratorExit))
            self._abort("disconnect" if disconnected else "error")
        self.finish()

    def finish_at_close(self, body: Any) -> Iterable[bytes]:
        """Return *body*, a file that the server sends by itself; closing it ends the request."""
        close = getattr(body, "close", None)

        def closed() -> None:
            if not self.finished and sys.exception() is None:
                length = self.announced_length()
                self.body_bytes = int(length) if length != UNKNOWN_LENGTH else 0
                self.finish()
            elif not self.finished:
                self.abort()
            if close is not None:
                close()

        body.close = closed
        return body  # type: ignore[no-any-return]  # a file wrapper: the caller has checked

    def _write(self, data: bytes) -> Any:
        self.body_bytes += len(data)
        self.under_way = True
        return self._server_write(data)

    def _abort(self, reason: str) -> None:
        self.ensure_extras().aborted = reason
        self.observer.count_aborted(reason)
