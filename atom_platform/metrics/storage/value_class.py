"""
The value class behind prometheus_client's metrics in our processes.

Whatever a library counts with prometheus_client's own classes lands in the same cells, files and
slots as our metrics: bounded, exact, and without a way to fail the caller.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any, Final

from prometheus_client import values
from prometheus_client.mmap_dict import mmap_key

from atom_platform.metrics.storage.exemplars import write_client_exemplar
from atom_platform.metrics.storage.storage import STORAGE, ReentryError, Storage

__all__ = ["SlotValue", "install_value_class"]

_installing: Final = threading.Lock()


class SlotValue:
    """
    One value, as prometheus_client's metrics use it.

    Two of the same key share their cell, as two processes of one slot do one after the other.
    """

    _multiprocess = True
    #: Where the cells are; a class attribute, because prometheus_client makes the instances.
    _storage: Storage = STORAGE

    def __init__(
        self,
        typ: str,
        metric_name: str,
        name: str,
        labelnames: Sequence[str],
        labelvalues: Sequence[str],
        help_text: str,
        multiprocess_mode: str = "",
        **kwargs: Any,
    ) -> None:
        self._kind = f"gauge_{multiprocess_mode}" if typ == "gauge" else typ
        #: What is added up has no time, nor room for one.
        self._timed = typ == "gauge"
        help_text = str(help_text)
        self._key = mmap_key(metric_name, name, list(labelnames), list(labelvalues), help_text)
        self._encoded = self._key.encode(errors="replace")
        self._generation = -1
        self.inc(0.0)  # exposed from its creation on, as prometheus_client does

    def inc(self, amount: float) -> None:
        with contextlib.suppress(ReentryError), self._storage.lock:
            cells, at = self._cell()
            cells[at] += amount
            if self._timed:
                cells[at + 1] = 0.0

    def set(self, value: float, timestamp: float | None = None) -> None:
        with contextlib.suppress(ReentryError), self._storage.lock:
            cells, at = self._cell()
            cells[at] = value
            if self._timed:
                cells[at + 1] = timestamp or 0.0

    def get(self) -> float:
        with contextlib.suppress(ReentryError), self._storage.lock:
            cells, at = self._cell()
            return float(cells[at])
        return 0.0

    def set_exemplar(self, exemplar: Any) -> None:
        """Keep *exemplar* if its only label is a `trace_id`: others do not cross processes."""
        write_client_exemplar(
            self._encoded, exemplar.labels, exemplar.value, exemplar.timestamp, self._storage
        )

    def get_exemplar(self) -> None:
        """Return nothing: exemplars are read by the scrape, from every process."""

    def _cell(self) -> tuple[Any, int]:
        if self._generation != self._storage.generation:
            self._found = self._storage.cell(self._kind, self._encoded)
            self._generation = self._storage.generation
        return self._found


def install_value_class() -> None:
    """
    Have prometheus_client's metrics count into this process's storage.

    Those made before keep the class they were made with, and its files are scraped as well.
    Does nothing outside a metrics directory, where prometheus_client's own values in memory do.
    """
    with _installing:
        if STORAGE.directory is not None:
            values.ValueClass = SlotValue
