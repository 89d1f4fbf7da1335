"""
The WSGI middleware: every request is counted, timed and logged exactly once.

Hooks of the framework miss what it answers itself, streamed bodies and clients that disconnect (see
docs/adr/0008). A request is counted before its last byte leaves, so a later scrape has seen it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from time import perf_counter
from typing import Any, Final, Protocol

from flask import Flask, got_request_exception

from atom_platform.extension.active_request import ActiveRequest
from atom_platform.extension.labels import REQUEST_LABELS, Endpoints, queue_seconds
from atom_platform.extension.probe_dispatcher import ProbeDispatcher
from atom_platform.extension.request_record import RequestRecord
from atom_platform.extension.response_body import observed_body, piece_of, whole_body
from atom_platform.logs.context import CURRENT_SCOPE, note_exception
from atom_platform.logs.exchange import Exchange
from atom_platform.metrics.custom import Counter

__all__ = ["AccessLine", "FilteredMiddleware", "MonitoringMiddleware", "Recorder", "observed"]

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
    """What logs: `atom_platform.logs.http.AccessLog`."""

    def begin(self, exchange: Exchange, environ: Environ) -> None: ...
    def write(self, exchange: Exchange, record: RequestRecord) -> None: ...
    def observe(self, record: RequestRecord) -> None: ...


class MonitoringMiddleware:
    """
    Counts, times and logs the requests of a WSGI application.

    `app.wsgi_app = MonitoringMiddleware(app.wsgi_app, app=app, recorder=instruments)`

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
        answer = ActiveRequest()
        answer.particulars = None
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

    def record(self, answer: ActiveRequest) -> None:
        """Count and log *answer*, which has ended."""
        seconds = perf_counter() - answer.started
        environ, some = answer.environ, answer.particulars
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


class FilteredMiddleware(MonitoringMiddleware):
    """
    An `MonitoringMiddleware` for which some requests do not exist, and others have more to tell.

    Args:
        excluded_paths: Not counted, timed or logged. One that ends in a slash stands for all below.
        counters: By label, what counts requests by that label, the endpoint and the status.
    """

    def __init__(
        self,
        wsgi_app: WSGI,
        *,
        excluded_paths: Collection[str],
        counters: Mapping[str, Counter],
        **observing: Any,
    ) -> None:
        super().__init__(wsgi_app, **observing)
        self._excluded = frozenset(excluded_paths)
        self._excluded_below = tuple(path for path in excluded_paths if path.endswith("/"))
        self._counters = counters

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        path = environ.get("PATH_INFO", "")
        if path in self._excluded or path.startswith(self._excluded_below):
            return self.wsgi_app(environ, start_response)
        return super().__call__(environ, start_response)

    def record(self, answer: ActiveRequest) -> None:
        """Count and log *answer*, and count it again by each label."""
        super().record(answer)
        if self._counters:
            endpoint = answer.endpoint or self.endpoint_of(answer.environ)
            said = answer.environ.get(REQUEST_LABELS) or {}
            for label, counter in self._counters.items():
                counter.inc(
                    endpoint=endpoint, status=answer.status or 500, **{label: said.get(label, "")}
                )


def observed(
    probes: ProbeDispatcher,
    *,
    excluded_paths: Collection[str],
    counters: Mapping[str, Counter],
    **observing: Any,
) -> MonitoringMiddleware:
    """
    Return the middleware around *probes*, with filters only where some are given.
    """
    observing["short_cut"] = probes.short_cut
    if not excluded_paths and not counters:
        return MonitoringMiddleware(probes.answer, **observing)
    return FilteredMiddleware(
        probes.answer, excluded_paths=excluded_paths, counters=counters, **observing
    )
