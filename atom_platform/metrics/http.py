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

from flask import Flask, got_request_exception

from atom_platform.extension.request_record import RequestRecord
from atom_platform.logs.context import CURRENT_SCOPE, RequestScope, note_exception
from atom_platform.metrics.answer import Answer
from atom_platform.metrics.bodies import observed_body, piece_of, whole_body
from atom_platform.metrics.endpoints import Endpoints
from atom_platform.metrics.queue_time import queue_seconds

__all__ = ["AccessLine", "ObservedWSGI", "Recorder"]

_enter: Final = CURRENT_SCOPE.set
_leave: Final = CURRENT_SCOPE.reset

Environ = dict[str, Any]
WSGI = Callable[..., Iterable[bytes]]


class Recorder(Protocol):
    """What counts: `atom_platform.metrics.instruments`, or a stand-in with the same functions."""

    def record_request(self, record: RequestRecord, in_progress: float = 0.0) -> None: ...
    def requests_in_progress(self, delta: float) -> None: ...
    def observe_queue(self, seconds: float) -> None: ...
    def count_exception(self, endpoint: str, type_name: str) -> None: ...
    def count_aborted(self, reason: str) -> None: ...


class AccessLine(Protocol):
    """What logs: `atom_platform.logs.access_log.AccessLog`."""

    def begin(self, exchange: RequestScope, environ: Environ) -> None: ...
    def write(self, exchange: RequestScope, record: RequestRecord) -> None: ...
    def observe(self, record: RequestRecord) -> None: ...


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
        short_cut: What a path begins with that needs *wsgi_app*, and the application that it would
            leave all other requests to.
    """

    def __init__(
        self,
        wsgi_app: WSGI,
        *,
        recorder: Recorder,
        app: Flask | None = None,
        access: AccessLine | None = None,
        short_cut: tuple[str, WSGI] | None = None,
    ) -> None:
        self.wsgi_app = wsgi_app
        self._beginning, self._others = short_cut or ("", wsgi_app)
        self._recorder = recorder
        self._access = access
        self.count_aborted = recorder.count_aborted
        self._record_request = recorder.record_request
        self._requests_in_progress = recorder.requests_in_progress
        self.endpoint_of = Endpoints(None if app is None else app.url_map).of
        if app is not None:
            # Sent for what no handler turned into a response; the answer itself hides what it was.
            got_request_exception.connect(self._on_exception, app)

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if "atom.request_id" in environ:  # a monitored application inside of another: counted once
            return self.wsgi_app(environ, start_response)
        answer = Answer()
        answer.extras = None
        answer.request_id = answer.endpoint = ""
        answer.body_bytes = answer.status = 0
        answer.environ = environ
        answer.headers = ()
        answer.observer = self
        answer.server_start = start_response
        answer.finished = answer.under_way = False
        answer.started = perf_counter()
        self._requests_in_progress(1.0)
        if "HTTP_X_REQUEST_START" in environ:
            self._note_queue(environ["HTTP_X_REQUEST_START"])
        if self._access is not None:
            self._access.begin(answer, environ)
        around = _enter(answer)
        try:
            if environ.get("PATH_INFO", "").startswith(self._beginning):
                body = self.wsgi_app(environ, answer.start_response)
            else:
                body = self._others(environ, answer.start_response)
            piece = piece_of(body)
            if piece is None or not answer.status:
                return observed_body(answer, body)
            answer.body_bytes += len(piece[0])
            answer.finished = True
            self.record(answer)
            return whole_body(answer, piece)
        except BaseException as error:
            answer.fail(error)
            raise
        finally:
            _leave(around)

    def _note_queue(self, header: str) -> None:
        waited = queue_seconds(header, time.time())
        if waited is not None:
            self._recorder.observe_queue(waited)

    def observe(self, record: RequestRecord) -> None:
        """Count and log a request that the server answered without the application."""
        if self._access is not None:
            self._access.observe(record)
        self._record_request(record)

    def record(self, answer: Answer) -> None:
        """Count and log *answer*, which has ended."""
        seconds = perf_counter() - answer.started
        environ, some = answer.environ, answer.extras
        method = environ["REQUEST_METHOD"]
        record = RequestRecord(
            method,
            environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""),
            answer.endpoint or self.endpoint_of(environ),
            answer.status or 500,  # without a start_response the server makes a 500 of it
            seconds,
            0 if method == "HEAD" else answer.body_bytes,
            environ.get("REMOTE_ADDR", ""),
            answer.request_id,
            None if some is None else some.trace,
        )
        self._record_request(record, -1.0)
        if some is not None and some.exception is not None:
            self._recorder.count_exception(record.endpoint, type(some.exception).__name__)
        if self._access is not None:
            self._access.write(answer, record)

    @staticmethod
    def _on_exception(sender: object, exception: BaseException, **extra: Any) -> None:
        note_exception(exception)
