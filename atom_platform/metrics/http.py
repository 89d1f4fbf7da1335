"""
Every request counted exactly once, whoever answered it, from the call to the end of the body.

One WSGI middleware, because hooks of the framework miss what it answers itself, streamed bodies and
clients that hang up. It counts before the last byte leaves, so that a scrape that follows an answer
has seen it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from flask import Flask, got_request_exception
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, RequestRedirect

from atom_platform.logs.context import CURRENT_SCOPE, Exchange, note_exception
from atom_platform.metrics.answer import Answer, begun
from atom_platform.metrics.queue_time import queue_seconds

__all__ = ["AccessLine", "ObservedWSGI", "Recorder"]

UNMATCHED: Final = "unmatched"

_enter: Final = CURRENT_SCOPE.set
_leave: Final = CURRENT_SCOPE.reset

Environ = dict[str, Any]


class Recorder(Protocol):
    """What counts: `atom_platform.metrics.instruments`, or a stand-in with the same functions."""

    def record_request(
        self,
        method: str,
        endpoint: str,
        status: int,
        duration_seconds: float,
        trace_id: str | None = None,
        in_progress: int = 0,
    ) -> None: ...
    def requests_in_progress(self, delta: int) -> None: ...
    def observe_queue(self, seconds: float) -> None: ...
    def count_exception(self, endpoint: str, type_name: str) -> None: ...
    def count_aborted(self, reason: str) -> None: ...


class AccessLine(Protocol):
    """What logs: `atom_platform.logs.http.AccessLog`."""

    def begin(self, exchange: Exchange, environ: Environ) -> None: ...
    def write(
        self,
        exchange: Exchange,
        method: str,
        path: str,
        endpoint: str,
        status: int,
        duration_seconds: float,
        response_bytes: int,
        remote_addr: str,
    ) -> None: ...
    def observe(
        self,
        method: str,
        path: str,
        endpoint: str,
        status: int,
        duration_seconds: float,
        response_bytes: int,
        remote_addr: str,
        request_id: str | None,
        traceparent: str | None,
        reason: str,
    ) -> str | None: ...


class ObservedWSGI:
    """
    Counts, times and logs the requests of a WSGI application.

    `app.wsgi_app = ObservedWSGI(app.wsgi_app, app=app, recorder=instruments, access=AccessLog())`

    Args:
        wsgi_app: The application to call.
        recorder: Counts.
        app: The Flask application whose URL rules name the endpoints; without one, all requests are
            `unmatched`.
        access: Gives ids and writes access lines; None leaves both out.
    """

    def __init__(
        self,
        wsgi_app: Callable[..., Iterable[bytes]],
        *,
        recorder: Recorder,
        app: Flask | None = None,
        access: AccessLine | None = None,
    ) -> None:
        self.wsgi_app = wsgi_app
        self._recorder = recorder
        self._access = access
        self._url_map: Map | None = None
        self.count_aborted = recorder.count_aborted
        self._record_request = recorder.record_request
        self._requests_in_progress = recorder.requests_in_progress
        if app is not None:
            self._url_map = app.url_map
            # Sent for what no handler turned into a response; the answer itself hides what it was.
            got_request_exception.connect(self._on_exception, app)

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer = begun(self, environ, start_response)
        self._requests_in_progress(1)
        if "HTTP_X_REQUEST_START" in environ:
            waited = queue_seconds(environ["HTTP_X_REQUEST_START"], time.time())
            if waited is not None:
                self._recorder.observe_queue(waited)
        if self._access is not None:
            self._access.begin(answer, environ)
        around = _enter(answer)
        try:
            return answer.take(self.wsgi_app(environ, answer.start_response))
        except BaseException as error:
            answer.fail(error)
            raise
        finally:
            _leave(around)

    def observe(
        self,
        method: str,
        path: str,
        endpoint: str,
        status: int,
        duration_seconds: float,
        response_bytes: int,
        remote_addr: str,
        request_id: str | None = None,
        traceparent: str | None = None,
        reason: str = "",
    ) -> None:
        """
        Count and log a request that the server answered without the application.

        *reason* is for the access line: why the server refused a request it could not read.
        """
        trace_id = None
        if self._access is not None:
            trace_id = self._access.observe(
                method,
                path,
                endpoint,
                status,
                duration_seconds,
                response_bytes,
                remote_addr,
                request_id,
                traceparent,
                reason,
            )
        self._record_request(method, endpoint, status, duration_seconds, trace_id)

    def record(self, answer: Answer) -> None:
        """Count and log *answer*, which has ended."""
        environ, trace = answer.environ, answer.trace
        method = environ["REQUEST_METHOD"]
        # Without a start_response the server makes a 500 of it.
        status, endpoint = answer.status or 500, answer.endpoint or self.endpoint_of(environ)
        duration = perf_counter() - answer.started
        trace_id = None if trace is None else trace.trace_id
        self._record_request(method, endpoint, status, duration, trace_id, -1)
        if answer.exception is not None:
            self._recorder.count_exception(endpoint, type(answer.exception).__name__)
        if self._access is not None:
            self._access.write(
                answer,
                method,
                environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""),
                endpoint,
                status,
                duration,
                0 if method == "HEAD" else answer.body_bytes,
                environ.get("REMOTE_ADDR", ""),
            )

    def endpoint_of(self, environ: Environ) -> str:
        """
        Return the URL rule that *environ* matches, whatever its method.

        Flask knows it while it answers, except for a method that the rule does not take and for a
        redirect to the rule's own slash; those, and what Flask did not see, are matched again.
        """
        request = environ.get("werkzeug.request")
        rule = getattr(request, "url_rule", None)
        if rule is not None:
            return str(rule.rule)
        if isinstance(getattr(request, "routing_exception", None), NotFound):
            return UNMATCHED
        try:
            return self._match_again(environ)
        except Exception:  # nothing matches, or the request is not fit to be matched
            return UNMATCHED

    def _match_again(self, environ: Environ) -> str:
        if self._url_map is None:
            return UNMATCHED
        adapter = self._url_map.bind_to_environ(environ)
        path: str | None = None
        method: str | None = None
        for _ in range(3):  # a redirect may lead to a rule that does not take the method
            try:
                return adapter.match(path, method, return_rule=True)[0].rule
            except MethodNotAllowed as error:
                method = next(iter(error.valid_methods or ()), None)
            except RequestRedirect as error:
                target = urlsplit(error.new_url).path
                path = target.removeprefix(adapter.script_name.rstrip("/"))
        return UNMATCHED

    @staticmethod
    def _on_exception(sender: object, exception: BaseException, **extra: Any) -> None:
        note_exception(exception)
