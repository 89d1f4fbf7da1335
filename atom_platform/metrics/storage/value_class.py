"""
The class in which prometheus_client keeps the values of its metrics.

Metrics that the application or a library defines with prometheus_client thereby count into the same
cells, files and slots as ours. Counting never fails the caller.
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
    One value of a prometheus_client metric, with the interface of its `MmapedValue`.

    Values with the same key share one cell.
    """

    _multiprocess = True
    #: A class attribute, because prometheus_client creates the instances.
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
        #: Only the cell of a gauge has a timestamp.
        self._timed = typ == "gauge"
        help_text = str(help_text)
        self._key = mmap_key(metric_name, name, list(labelnames), list(labelvalues), help_text)
        self._encoded = self._key.encode(errors="replace")
        self._generation = -1
        self.inc(0.0)  # exposed from its creation on, as in prometheus_client

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
        """Keep *exemplar* if its only label is `trace_id`; the files have no room for others."""
        write_client_exemplar(
            self._encoded, exemplar.labels, exemplar.value, exemplar.timestamp, self._storage
        )

    def get_exemplar(self) -> None:
        """Return None: the scrape reads the exemplars of all processes from files."""

    def _cell(self) -> tuple[Any, int]:
        if self._generation != self._storage.generation:
            self._found = self._storage.cell(self._kind, self._encoded)
            self._generation = self._storage.generation
        return self._found


def install_value_class() -> None:
    """
    Make the metrics of prometheus_client count into this process's storage.

    Metrics that already exist keep their value class; its files are scraped too. Without a metrics
    directory nothing is changed: prometheus_client counts in memory.
    """
    with _installing:
        if STORAGE.directory is not None:
            values.ValueClass = SlotValue
