"""
The last exemplar of each histogram bucket, shared between processes.

Exemplars are kept like metrics, in a file that prometheus_client does not read. A bucket has two
entries: value and time under its key, and the 128 bits of the trace id under a space and its key,
which is JSON too. The time is cleared first and written last: 0 marks a half-written exemplar.
"""

from __future__ import annotations

import contextlib
import re
import struct
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from atom_platform.metrics.samples import Exemplar
from atom_platform.metrics.storage.storage import STORAGE, ReentryError, Storage
from atom_platform.metrics.storage.value_files import Cell

__all__ = [
    "EXEMPLARS_KIND",
    "ExemplarCell",
    "exemplar_cell",
    "keep_exemplar",
    "read_exemplars",
    "trace_key",
    "write_client_exemplar",
]

EXEMPLARS_KIND: Final = "exemplars"
#: The number of buckets that can have an exemplar. It bounds memory and disk space.
_BUCKETS_AT_MOST: Final = 4096
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_LOW_BITS: Final = (1 << 64) - 1

#: Table of doubles, position of the value, the table as integers, position of the trace id.
ExemplarCell = tuple[Any, int, Any, int]


def trace_key(bucket_key: bytes) -> bytes:
    """Return the key of the trace id that belongs to a bucket's exemplar."""
    return b" " + bucket_key


def exemplar_cell(bucket_key: bytes, storage: Storage = STORAGE) -> ExemplarCell | None:
    """
    Return the cell of the bucket's exemplar, or None if too many buckets have one.

    Use it before releasing the storage's lock, as any cell.

    Raises:
        ReentryError: The call interrupted another one of the same thread.
    """
    with storage.lock:
        if storage.cell_count(EXEMPLARS_KIND) >= 2 * _BUCKETS_AT_MOST:
            return None
        doubles, value_at = storage.cell(EXEMPLARS_KIND, bucket_key)
        table, trace_at = storage.cell(EXEMPLARS_KIND, trace_key(bucket_key))
        return doubles, value_at, table.cast("B").cast("Q"), trace_at


def keep_exemplar(cell: ExemplarCell, trace_id: str, value: float, timestamp: float) -> None:
    """Write an exemplar. Call it under the storage's lock; *trace_id* is 32 hex digits."""
    doubles, at, integers, trace_at = cell
    trace = int(trace_id, 16)
    doubles[at + 1] = 0.0
    integers[trace_at] = trace >> 64
    integers[trace_at + 1] = trace & _LOW_BITS
    doubles[at] = value
    doubles[at + 1] = timestamp


def write_client_exemplar(
    bucket_key: bytes, labels: Any, value: float, timestamp: float | None, storage: Storage
) -> None:
    """Keep an exemplar given to prometheus_client if its only label is a trace id."""
    trace_id = labels.get("trace_id", "")
    if len(labels) != 1 or not _TRACE_ID.fullmatch(trace_id):
        return
    with contextlib.suppress(ReentryError), storage.lock:
        cell = exemplar_cell(bucket_key, storage)
        if cell is not None:
            keep_exemplar(cell, trace_id, value, timestamp or time.time())


def read_exemplars(cells: Mapping[bytes, Cell]) -> Iterator[tuple[bytes, Exemplar]]:
    """Yield bucket key and exemplar of each complete exemplar, while processes may write."""
    for key, (table, at) in cells.items():
        if (trace := cells.get(trace_key(key))) is None:
            continue
        timestamp, value = table[at + 1], table[at]
        bits = trace[0][trace[1] : trace[1] + 2].tobytes()
        if timestamp > 0.0 and timestamp == table[at + 1]:
            high, low = struct.unpack("QQ", bits)
            yield key, Exemplar(f"{high:016x}{low:016x}", value, timestamp)
