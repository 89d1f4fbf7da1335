"""
Counting HTTP requests: the one place where a microsecond matters.

One lock, one lookup, three additions. Counter, bucket and sum change under the same hold of the
lock, so that they agree with each other.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import Any, Final

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
from atom_platform.metrics.multiprocess.files import Cell
from atom_platform.metrics.multiprocess.storage import STORAGE
from atom_platform.metrics.recording import Family, HistogramFamily, not_recorded

__all__ = [
    "count_aborted",
    "count_exception",
    "observe_queue",
    "record_request",
    "requests_in_progress",
]

_METHODS: Final = frozenset(HTTP_METHODS)
_ABORT_REASONS: Final = frozenset(HTTP_RESPONSES_ABORTED.values["reason"])

#: Of one label set: the counter's table and place, the sum's, and all that the histogram has.
_Cells = tuple[Any, int, Any, int, list[Cell], HistogramCells]

# Not `with STORAGE.lock`, which takes twice as long. What it would be for, an exception of a signal
# handler between two lines, comes in main threads alone, and ends the process.
_acquire: Final = STORAGE.lock.acquire
_release: Final = STORAGE.lock.release
_requests: Final[dict[tuple[str, str, int], _Cells]] = {}
_durations: Final[dict[tuple[str, str], HistogramCells]] = {}
#: One cell, or none until the first request and after each reset.
_in_progress: Final[list[Cell]] = []
STORAGE.on_reset(_requests.clear)
STORAGE.on_reset(_durations.clear)
STORAGE.on_reset(_in_progress.clear)

_BOUNDS: Final = HTTP_REQUEST_DURATION.buckets
_queue: Final = HistogramFamily(HTTP_REQUEST_QUEUE)
_exceptions: Final = Family(HTTP_EXCEPTIONS)
_exception_names: Final = Ids("exception", HTTP_EXCEPTIONS)
_aborted: Final = Family(HTTP_RESPONSES_ABORTED)


def record_request(
    method: str,
    endpoint: str,
    status: int,
    duration_seconds: float,
    trace_id: str | None = None,
    in_progress: int = 0,
) -> None:
    """
    Count one answered request. Never raises.

    Args:
        endpoint: The matched URL rule; never what the client typed.
        trace_id: 32 hexadecimal digits; becomes the exemplar of the request's bucket.
        in_progress: -1 for a request that was among those being answered.
    """
    _acquire()
    try:
        if in_progress:
            cells, at = _in_progress[0] if _in_progress else _opened()
            cells[at] += in_progress
        if not duration_seconds >= 0.0:
            duration_seconds = 0.0
        found = _requests.get((method, endpoint, status)) or _found(method, endpoint, status)
        cells, at, sums, sum_at, buckets, duration = found
        cells[at] += 1.0
        sums[sum_at] += duration_seconds
        cells, at = buckets[bisect_left(_BOUNDS, duration_seconds)]
        cells[at] += 1.0
        if trace_id is not None:
            duration.keep_exemplar(duration_seconds, trace_id, time.time())
    except Exception as error:
        not_recorded(HTTP_REQUESTS, error)
    finally:
        _release()


def _found(method: str, endpoint: str, status: int) -> _Cells:
    if method not in _METHODS:
        # Looked up again under the common name: what clients make up must not fill this table.
        return _requests.get(("OTHER", endpoint, status)) or _made("OTHER", endpoint, status)
    return _made(method, endpoint, status)


def _made(method: str, endpoint: str, status: int) -> _Cells:
    labels = method, clean(endpoint)
    duration = _durations.get((method, endpoint))
    if duration is None:
        duration = _durations[method, endpoint] = histogram_cells(HTTP_REQUEST_DURATION, labels)
        # There from the first request on, so that a share of errors is 0 and not absent, and that
        # the first error is an increase.
        counter_cell(HTTP_REQUESTS, (*labels, "500"))
    counter = counter_cell(HTTP_REQUESTS, (*labels, clean(status)))
    made = _requests[method, endpoint, status] = *counter, *duration.sum, duration.buckets, duration
    return made


def requests_in_progress(delta: int) -> None:
    """Add *delta*, 1 or -1, to the requests being answered. Never raises."""
    _acquire()
    try:
        cells, at = _in_progress[0] if _in_progress else _opened()
        cells[at] += delta
    except Exception as error:
        not_recorded(HTTP_REQUESTS_IN_PROGRESS, error)
    finally:
        _release()


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
