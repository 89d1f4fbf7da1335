"""
The WSGI middleware: every request is counted, timed and logged exactly once.

Hooks of the framework miss what it answers itself, streamed bodies and clients that disconnect (see
docs/adr/0008). A request is counted before its last byte leaves, so a later scrape has seen it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, Protocol

from flask import Flask, got_request_exception

from atom_platform.extension.active_request import ActiveRequest
from atom_platform.extension.labels import REQUEST_LABELS, Endpoints, queue_seconds
from atom_platform.extension.request_record import RequestRecord
from atom_platform.extension.response_body import observed_body
from atom_platform.logs.context import CURRENT_SCOPE, RequestScope, note_exception
from atom_platform.metrics.custom import Counter

__all__ = ["MonitoringMiddleware", "Recorder", "RequestLogger"]

_enter: Final = CURRENT_SCOPE.set
_leave: Final = CURRENT_SCOPE.reset

Environ = dict[str, Any]
WSGI = Callable[..., Iterable[bytes]]


class Recorder(Protocol):
    """Counts requests: the functions of `atom_platform.metrics.http_metrics`."""

    def record_request(self, record: RequestRecord, in_progress: float = 0.0) -> None: ...
    def add_in_progress(self, delta: float) -> None: ...
    def observe_queue(self, seconds: float) -> None: ...
    def count_exception(self, endpoint: str, type_name: str) -> None: ...
    def count_aborted(self, reason: str) -> None: ...


class RequestLogger(Protocol):
    """Chooses request ids and writes access lines: `AccessLog`."""

    def begin(self, scope: RequestScope, environ: Environ) -> None: ...
    def write(self, scope: RequestScope, record: RequestRecord) -> None: ...
    def observe(self, record: RequestRecord) -> None: ...


class MonitoringMiddleware:
    """
    Counts, times and logs the requests of a WSGI application.

    `app.wsgi_app = MonitoringMiddleware(app.wsgi_app, app=app, recorder=http_metrics)`

    Args:
        wsgi_app: The application to call.
        recorder: Counts the requests.
        app: The Flask application whose URL rules name the endpoints; without one, all requests are
            `unmatched`.
        access: Chooses request ids and writes access lines; None leaves both out.
        excluded_paths: Requests that are not counted, timed or logged. A path that ends in a slash
            stands for all below it.
        counters: By label, the counter of requests by that label, the endpoint and the status.
    """

    def __init__(
        self,
        wsgi_app: WSGI,
        *,
        recorder: Recorder,
        app: Flask | None = None,
        access: RequestLogger | None = None,
        excluded_paths: Collection[str] = (),
        counters: Mapping[str, Counter] | None = None,
    ) -> None:
        self.wsgi_app = wsgi_app
        self._recorder = recorder
        self._access = access
        self._excluded = frozenset(excluded_paths)
        self._excluded_below = tuple(path for path in excluded_paths if path.endswith("/"))
        self._counters = dict(counters or {})
        self._record_request = recorder.record_request
        self._add_in_progress = recorder.add_in_progress
        self.count_aborted = recorder.count_aborted
        self.endpoint_of = Endpoints(None if app is None else app.url_map).of
        if app is not None:
            # Sent for an exception that no handler answers; the response itself does not show it.
            got_request_exception.connect(self._on_exception, app)

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if "atom.request_id" in environ or (self._excluded and self._is_excluded(environ)):
            # In the first case a monitored application inside of another one: counted once.
            return self.wsgi_app(environ, start_response)
        request = ActiveRequest(environ, start_response, self)
        self._add_in_progress(1.0)
        if "HTTP_X_REQUEST_START" in environ:
            waited = queue_seconds(environ["HTTP_X_REQUEST_START"], time.time())
            if waited is not None:
                self._recorder.observe_queue(waited)
        if self._access is not None:
            self._access.begin(request, environ)
        around = _enter(request)
        try:
            return observed_body(request, self.wsgi_app(environ, request.start_response))
        except BaseException as error:
            request.fail(error)
            raise
        finally:
            _leave(around)

    def observe(self, record: RequestRecord) -> None:
        """Count and log a request that the server answered without the application."""
        if self._access is not None:
            self._access.observe(record)
        self._record_request(record)

    def record(self, request: ActiveRequest) -> None:
        """Count and log *request*, which has ended."""
        seconds = time.perf_counter() - request.started
        environ, extras = request.environ, request.extras
        method = environ["REQUEST_METHOD"]
        record = RequestRecord(
            method,
            environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""),
            request.endpoint or self.endpoint_of(environ),
            request.status or 500,  # without a start_response the server answers 500
            seconds,
            0 if method == "HEAD" else request.body_bytes,
            environ.get("REMOTE_ADDR", ""),
            request.request_id,
            None if extras is None else extras.trace,
        )
        self._record_request(record, -1.0)
        if extras is not None and extras.exception is not None:
            self._recorder.count_exception(record.endpoint, type(extras.exception).__name__)
        if self._access is not None:
            self._access.write(request, record)
        if self._counters:
            self._count_by_labels(record, environ.get(REQUEST_LABELS) or {})

    def _is_excluded(self, environ: Environ) -> bool:
        path = environ.get("PATH_INFO", "")
        return path in self._excluded or path.startswith(self._excluded_below)

    def _count_by_labels(self, record: RequestRecord, labels: Mapping[str, str]) -> None:
        """Count *record* in each of the application's own counters, by what `label_request` set."""
        for label, counter in self._counters.items():
            counter.inc(
                endpoint=record.endpoint, status=record.status, **{label: labels.get(label, "")}
            )

    @staticmethod
    def _on_exception(sender: object, exception: BaseException, **extra: Any) -> None:
        note_exception(exception)
