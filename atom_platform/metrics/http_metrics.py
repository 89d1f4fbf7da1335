"""
HTTP request metrics: every request is counted here, whatever answered it.

The middleware (`extension/middleware.py`) calls `record_request` once a request, at the end of its
body. The server does so, by `Platform.observe_request`, for the requests that it answers itself.
Nothing here raises.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import Final

from atom_platform.extension.request_record import RequestRecord
from atom_platform.metrics.catalog import (
    HTTP_EXCEPTIONS,
    HTTP_METHODS,
    HTTP_REQUEST_DURATION,
    HTTP_REQUEST_QUEUE,
    HTTP_REQUESTS,
    HTTP_REQUESTS_IN_PROGRESS,
    HTTP_RESPONSES_ABORTED,
)
from atom_platform.metrics.families import (
    CounterFamily,
    GaugeFamily,
    HistogramCells,
    HistogramFamily,
    label_text,
    note_failure,
    open_cell,
)
from atom_platform.metrics.label_limits import LabelLimiter
from atom_platform.metrics.storage.storage import STORAGE
from atom_platform.metrics.storage.value_files import Cell

__all__ = [
    "add_in_progress",
    "count_aborted",
    "count_exception",
    "observe_queue",
    "record_request",
]

_BUCKETS: Final = HTTP_REQUEST_DURATION.buckets
_METHODS: Final = frozenset(HTTP_METHODS)
_ABORT_REASONS: Final = frozenset(HTTP_RESPONSES_ABORTED.values["reason"])

#: The cells that a request changes: its counter, its histogram, and the gauge in progress.
_Cells = tuple[Cell, HistogramCells, Cell]

#: By method, endpoint and status.
_request_cells: Final[dict[tuple[str, str, int], _Cells]] = {}
#: By method and endpoint.
_duration_cells: Final[dict[tuple[str, str], HistogramCells]] = {}
STORAGE.on_invalidate(_request_cells.clear)
STORAGE.on_invalidate(_duration_cells.clear)

_in_progress: Final = GaugeFamily(HTTP_REQUESTS_IN_PROGRESS)
_queue: Final = HistogramFamily(HTTP_REQUEST_QUEUE)
_exceptions: Final = CounterFamily(HTTP_EXCEPTIONS)
_exception_limiter: Final = LabelLimiter("exception", HTTP_EXCEPTIONS)
_aborted: Final = CounterFamily(HTTP_RESPONSES_ABORTED)


def record_request(record: RequestRecord, in_progress: float = 0.0) -> None:
    """
    Count one answered request. Never raises.

    Args:
        record: The request. Its trace id becomes the exemplar of the histogram's bucket.
        in_progress: -1 if the request was added by `add_in_progress` before.
    """
    try:
        seconds = record.seconds
        if not seconds >= 0.0:  # a clock step, or NaN
            seconds = 0.0
        with STORAGE.lock:
            found = _request_cells.get((record.method, record.endpoint, record.status))
            if found is None:
                _in_progress.add((), in_progress)  # first: opening a cell may fail
                in_progress = 0.0
                found = _open_cells(record.method, record.endpoint, record.status)
            counter, duration, gauge = found
            cells, at = counter
            cells[at] += 1.0
            cells, at = duration.sum  # as `observe` does, without a call
            cells[at] += seconds
            cells, at = duration.buckets[bisect_left(_BUCKETS, seconds)]
            cells[at] += 1.0
            cells, at = gauge
            cells[at] += in_progress
            if record.trace is not None:
                duration.keep_exemplar(seconds, record.trace.trace_id, time.time())
    except Exception as error:
        note_failure(HTTP_REQUESTS, error)


def _open_cells(method: str, endpoint: str, status: int) -> _Cells:
    """
    Return the cells of a label set that is not in `_request_cells`, and keep them there.

    A method that is not registered is looked up as `OTHER` and kept under that name alone, so that
    methods made up by clients do not fill the table.
    """
    if method not in _METHODS:
        method = "OTHER"
    known = _request_cells.get((method, endpoint, status))
    if known is not None:
        return known
    labels = method, label_text(endpoint)
    duration = _duration_cells.get((method, endpoint))
    if duration is None:
        duration = _duration_cells[method, endpoint] = HistogramCells(HTTP_REQUEST_DURATION, labels)
        # The counter of errors starts with the first request: an error ratio is 0, not absent, and
        # the first error is an increase that `rate()` sees.
        open_cell(HTTP_REQUESTS, (*labels, "500"))
    counter = open_cell(HTTP_REQUESTS, (*labels, label_text(status)))
    gauge = open_cell(HTTP_REQUESTS_IN_PROGRESS)
    cells = _request_cells[method, endpoint, status] = counter, duration, gauge
    return cells


def add_in_progress(delta: float) -> None:
    """Add *delta*, 1 or -1, to the requests being answered. Never raises."""
    _in_progress.add((), delta)


def observe_queue(seconds: float) -> None:
    """Record how long a request waited in front of the application. Never raises."""
    _queue.observe(seconds)


def count_exception(endpoint: str, type_name: str) -> None:
    """Count an exception that no handler turned into a response. Never raises."""
    try:
        _exceptions.add((label_text(endpoint), _exception_limiter.limit(type_name)))
    except Exception as error:
        note_failure(HTTP_EXCEPTIONS, error)


def count_aborted(reason: str) -> None:
    """Count a response cut off by a `disconnect` of the client or an `error` in its body."""
    _aborted.add((reason if reason in _ABORT_REASONS else "error",))
