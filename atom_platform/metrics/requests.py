"""
Counting HTTP requests: the one place where a microsecond matters.

One lookup, three additions, and no lock for them: CPython lets another thread, a signal handler or
the garbage collector in at calls, backward jumps and the start of a function only, so what stands
between two of those is one step to everybody in the process. `tests/metrics/test_atomic.py` reads
the bytecode. Whoever moves the cells elsewhere first empties the table they are looked up in
(`Storage`), and a lookup that finds nothing goes the long way, under the lock. An interpreter that
runs threads side by side takes the lock each time.
"""

from __future__ import annotations

import functools
import sys
import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, Final, ParamSpec

from atom_platform.extension.request_record import RequestRecord
from atom_platform.metrics.caps import Ids
from atom_platform.metrics.cells import (
    HistogramCells,
    clean,
    counter_cell,
    gauge_cell,
    histogram_cells,
)
from atom_platform.metrics.definitions import (
    HTTP_EXCEPTIONS,
    HTTP_METHODS,
    HTTP_REQUEST_DURATION,
    HTTP_REQUEST_QUEUE,
    HTTP_REQUESTS,
    HTTP_REQUESTS_IN_PROGRESS,
    HTTP_RESPONSES_ABORTED,
)
from atom_platform.metrics.recording import Family, HistogramFamily, not_recorded
from atom_platform.metrics.storage.storage import STORAGE
from atom_platform.metrics.storage.value_files import Cell

__all__ = [
    "count_aborted",
    "count_exception",
    "observe_queue",
    "record_request",
    "requests_in_progress",
]

P = ParamSpec("P")

_METHODS: Final = frozenset(HTTP_METHODS)
_ABORT_REASONS: Final = frozenset(HTTP_RESPONSES_ABORTED.values["reason"])

#: Of one label set: table and place of the counter and of the sum, those of the buckets, and table
#: and place of the gauge that all label sets share.
_Cells = tuple[Any, int, Any, int, list[Cell], Any, int]

_requests: Final[dict[tuple[str, str, int], _Cells]] = {}
_durations: Final[dict[tuple[str, str], HistogramCells]] = {}
#: One cell, or none until the first request and after each reset.
_in_progress: Final[list[Cell]] = []
STORAGE.on_invalidate(_requests.clear)
STORAGE.on_invalidate(_durations.clear)
STORAGE.on_invalidate(_in_progress.clear)

_BOUNDS: Final = HTTP_REQUEST_DURATION.buckets
#: Where a millisecond is enough there is no time for a search.
_QUICK_SECONDS: Final = _BOUNDS[0]
_queue: Final = HistogramFamily(HTTP_REQUEST_QUEUE)
_exceptions: Final = Family(HTTP_EXCEPTIONS)
_exception_names: Final = Ids("exception", HTTP_EXCEPTIONS)
_aborted: Final = Family(HTTP_RESPONSES_ABORTED)


def _in_one_step(function: Callable[P, None]) -> Callable[P, None]:
    """Return *function*, under the lock where the interpreter does not run it in one step."""
    if sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)():
        return function

    @functools.wraps(function)
    def locked(*args: P.args, **kwargs: P.kwargs) -> None:
        with STORAGE.lock:
            function(*args, **kwargs)

    return locked


@_in_one_step
def record_request(record: RequestRecord, in_progress: float = 0.0) -> None:
    """
    Count one answered request. Never raises.

    Args:
        record: The request. Its trace becomes the exemplar of the request's bucket.
        in_progress: -1 for a request that was among those being answered.
    """
    try:
        seconds = record.seconds
        if not seconds >= 0.0:
            seconds = 0.0
        bucket = 0 if seconds <= _QUICK_SECONDS else bisect_left(_BOUNDS, seconds)
        try:
            # From here to the last addition: no call, no loop.
            found = _requests[record.method, record.endpoint, record.status]
            counts, at, sums, sum_at, buckets, progress, progress_at = found
            counts[at] += 1.0
            sums[sum_at] += seconds
            cells, at = buckets[bucket]
            cells[at] += 1.0
            progress[progress_at] += in_progress
        except KeyError:
            _record_new(record.method, record.endpoint, record.status, seconds, in_progress)
        if record.trace is not None:
            _keep_exemplar(record.method, record.endpoint, seconds, record.trace.trace_id)
    except Exception as error:
        not_recorded(HTTP_REQUESTS, error)


def _record_new(
    method: str, endpoint: str, status: int, duration_seconds: float, in_progress: float
) -> None:
    """Count a request whose cells are not at hand."""
    requests_in_progress(in_progress)
    with STORAGE.lock:
        counts, at, sums, sum_at, buckets, _, _ = _found(method, endpoint, status)
        counts[at] += 1.0
        sums[sum_at] += duration_seconds
        cells, at = buckets[bisect_left(_BOUNDS, duration_seconds)]
        cells[at] += 1.0


def _keep_exemplar(method: str, endpoint: str, duration_seconds: float, trace_id: str) -> None:
    method = method if method in _METHODS else "OTHER"
    with STORAGE.lock:
        duration = _durations.get((method, endpoint))
        if duration is not None:
            duration.keep_exemplar(duration_seconds, trace_id, time.time())


def _found(method: str, endpoint: str, status: int) -> _Cells:
    if method not in _METHODS:
        # Looked up again under the common name: what clients make up must not fill this table.
        method = "OTHER"
    return _requests.get((method, endpoint, status)) or _made(method, endpoint, status)


def _made(method: str, endpoint: str, status: int) -> _Cells:
    labels = method, clean(endpoint)
    duration = _durations.get((method, endpoint))
    if duration is None:
        duration = _durations[method, endpoint] = histogram_cells(HTTP_REQUEST_DURATION, labels)
        # There from the first request on, so that a share of errors is 0 and not absent, and that
        # the first error is an increase.
        counter_cell(HTTP_REQUESTS, (*labels, "500"))
    counter = counter_cell(HTTP_REQUESTS, (*labels, clean(status)))
    progress = _in_progress[0] if _in_progress else _opened()
    made = *counter, *duration.sum, duration.buckets, *progress
    _requests[method, endpoint, status] = made
    return made


@_in_one_step
def requests_in_progress(delta: float) -> None:
    """Add *delta*, 1 or -1, to the requests being answered. Never raises."""
    try:
        try:
            cells, at = _in_progress[0]
            cells[at] += delta
        except IndexError:
            with STORAGE.lock:
                cells, at = _in_progress[0] if _in_progress else _opened()
                cells[at] += delta
    except Exception as error:
        not_recorded(HTTP_REQUESTS_IN_PROGRESS, error)


def _opened() -> Cell:
    cell = gauge_cell(HTTP_REQUESTS_IN_PROGRESS)
    _in_progress.append(cell)
    return cell


def observe_queue(seconds: float) -> None:
    """Record how long a request waited in front of the application. Never raises."""
    _queue.observe(seconds)


def count_exception(endpoint: str, type_name: str) -> None:
    """Count an exception that nothing turned into a response. Never raises."""
    try:
        _exceptions.add((clean(endpoint), _exception_names.admit(type_name)))
    except Exception as error:
        not_recorded(HTTP_EXCEPTIONS, error)


def count_aborted(reason: str) -> None:
    """Count a response cut off by a `disconnect` of the client or an `error` in its body."""
    _aborted.add((reason if reason in _ABORT_REASONS else "error",))
