"""
The multiprocess collector: reads and merges all files of a metrics directory.

A file that cannot be read is skipped, counted and logged, and tried again at the next scrape; all
other files are still read. Workers may start, stop and write during a scrape.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from atom_platform.metrics.samples import Exemplar, FamilySamples, Labels, Sample
from atom_platform.metrics.scrape.aggregate import (
    ClientFileValues,
    ColumnarFileValues,
    FileValues,
    KindTotals,
    MergedGauges,
)
from atom_platform.metrics.scrape.live_files import (
    is_writer_alive,
    list_live_files,
    reading_order,
    restore_deleted_file,
    survives_deletion,
)
from atom_platform.metrics.scrape.series_table import SeriesTable, split_bound
from atom_platform.metrics.scrape.summed_family import SummedFamily
from atom_platform.metrics.storage.client_format import (
    CorruptFileError,
    FileName,
    Key,
    ValueFileReader,
    parse_key,
)
from atom_platform.metrics.storage.columnar_files import ColumnarReader
from atom_platform.metrics.storage.columnar_format import SUMMED_KINDS
from atom_platform.metrics.storage.directory import may_count_in
from atom_platform.metrics.storage.exemplars import EXEMPLARS_KIND, read_exemplars
from atom_platform.metrics.storage.storage import STORAGE, Storage
from atom_platform.metrics.storage.value_files import Cell

__all__ = ["Collector", "Exemplars", "MetricsSnapshot", "garbage_collection_paused"]

#: Exemplars by family and labels, then by the upper bound of the bucket.
Exemplars = dict[tuple[str, Labels], dict[float, Exemplar]]


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """
    The metrics of all processes at one moment.

    Attributes:
        table: The series of counters, histograms and summaries.
        totals: The totals of each kind, in the order of the table's numbers.
        gauges: The families of gauges.
        exemplars: The latest exemplar of each bucket.
    """

    table: SeriesTable
    totals: dict[str, list[float]]
    gauges: list[FamilySamples]
    exemplars: Exemplars = field(default_factory=dict)

    def families(self) -> list[FamilySamples]:
        """Return all families with their samples, sorted by name."""
        added = [
            FamilySamples(family.name, family.kind, family.help, self.samples(family))
            for family in self.table.families.values()
        ]
        return sorted([*added, *self.gauges], key=lambda family: family.name)

    def samples(self, family: SummedFamily | FamilySamples) -> list[Sample]:
        """Return the samples of *family*, which belongs to this snapshot."""
        if isinstance(family, FamilySamples):
            return family.samples
        return [
            sample
            for chunk in family.chunks()
            for series in chunk.series
            for sample in series.samples(
                self.totals[family.kind], self.exemplars.get((family.name, series.labels))
            )
        ]


@contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """
    Pause garbage collection while many objects are created that are kept.

    Collections in between find nothing to free, and took half of the time of a first scrape.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


#: How often reading starts over because a file was deleted meanwhile.
_ATTEMPTS: Final = 3


class Collector:
    """
    Collects the metrics of all processes of the service.

    Not thread-safe: only one thread at a time may collect, and use the snapshot.

    Args:
        storage: The storage of this process. Its directory is read.
        alive: Tells whether the writer of a plain prometheus_client file is running.
        seed: Adds to a new table the series that are exposed even if nothing was counted.
    """

    def __init__(
        self,
        storage: Storage = STORAGE,
        *,
        alive: Callable[[str], bool] = is_writer_alive,
        seed: Callable[[SeriesTable], None] = lambda table: None,
    ) -> None:
        self._seed = seed
        self.table = SeriesTable()
        self._rows: dict[Path, FileValues] = {}
        self._sums: dict[str, KindTotals] = {}
        self._had_memory = False
        self._storage = storage
        self._alive = alive
        self._tables: dict[Path, dict[bytes, int]] = {}
        self._readers: dict[Path, ValueFileReader | ColumnarReader] = {}
        self._keys: dict[bytes, Key] = {}
        seed(self.table)

    def collect(self) -> MetricsSnapshot:
        """Return the metrics of all processes. Files that cannot be read never raise."""
        with garbage_collection_paused():
            return self._collect_once_stable()

    def _collect_once_stable(self) -> MetricsSnapshot:
        """Read all files, again if one of them is deleted meanwhile."""
        for _ in range(_ATTEMPTS):
            table = self.table
            gauges, exemplars = MergedGauges(), Exemplars()
            totals = self._update_totals(list(self._read(gauges, exemplars)))
            totals = self._with_memory(totals, gauges, exemplars)
            if table is self.table:
                break  # no file was dropped, and its series with it
        return MetricsSnapshot(self.table, totals, self._visible_gauges(gauges), exemplars)

    def _read(self, gauges: MergedGauges, exemplars: Exemplars) -> Iterator[FileValues]:
        """Read every file into *gauges* and *exemplars*; yield those whose values are summed."""
        for path, name in self._listed():
            with self._tolerating(path):
                reader = self._reader(path, name)
                if reader is None:
                    continue
                if isinstance(reader, ValueFileReader) and name.kind not in SUMMED_KINDS:
                    self._read_latest(reader, gauges, exemplars)
                    continue
                row = self._rows.get(path) or self._row(reader)
                row.load_new()
                self._rows[path] = row
                yield row

    def _read_latest(
        self, reader: ValueFileReader, gauges: MergedGauges, exemplars: Exemplars
    ) -> None:
        entries = self._entries(reader)
        cells, name = reader.cells, reader.name
        if name.kind == EXEMPLARS_KIND:
            places = {key: (cells, at) for key, at in entries.items()}
            self._merge_exemplars(places, exemplars)
        else:
            found = [(self._key(key), cells[at], cells[at + 1]) for key, at in entries.items()]
            gauges.add(name.kind, name.writer, found)

    def _row(self, reader: ValueFileReader | ColumnarReader) -> FileValues:
        if isinstance(reader, ColumnarReader):
            return ColumnarFileValues(reader, self.table)
        reader.rewind()
        return ClientFileValues(reader, self.table)

    def _listed(self) -> list[tuple[Path, FileName]]:
        storage = self._storage
        # A slot is needed for the locks that tell which live gauges count.
        slot_files = storage.claim_slot()
        if storage.directory is None or not may_count_in(storage.directory):
            return []
        try:
            found = list_live_files(storage.directory, slot_files, alive=self._alive)
        except OSError as error:
            self._skip(storage.directory, error)
            return []
        for path in self._readers.keys() - {path for path, _ in found}:
            reader = self._readers[path]
            if survives_deletion(reader):
                restore_deleted_file(reader, storage)
                found.append((path, reader.name))
            else:
                self._drop(path)
        return sorted(found, key=lambda item: reading_order(*item))

    def _reader(self, path: Path, name: FileName) -> ValueFileReader | ColumnarReader | None:
        reader = self._readers.get(path)
        try:
            if reader is None or not reader.is_same_file():
                self._drop(path)
                kind = ColumnarReader if name.is_columnar else ValueFileReader
                reader = self._readers[path] = kind(path, name)
        except FileNotFoundError:
            if reader is None or not survives_deletion(reader):
                self._drop(path)  # gone since it was listed
                return None
        return reader

    def _update_totals(self, rows: list[FileValues]) -> dict[str, list[float]]:
        """Return the totals of all files, by kind."""
        read: list[tuple[FileValues, list[int] | None]] = []
        for row in rows:
            with self._tolerating(row.reader.path):
                read.append((row, row.refresh()))
        for kind in SUMMED_KINDS:
            sums = self._sums.get(kind) or KindTotals(kind, self.table)
            self._sums[kind] = sums
            # Files read into an earlier table are read again in the next attempt.
            sums.update(
                [
                    (row, changed)
                    for row, changed in read
                    if row.table is self.table and row.reader.name.kind == kind
                ]
            )
        return {kind: sums.totals for kind, sums in self._sums.items()}

    def _with_memory(
        self, totals: dict[str, list[float]], gauges: MergedGauges, exemplars: Exemplars
    ) -> dict[str, list[float]]:
        """Add values counted in memory to *gauges* and *exemplars*, and to a copy of *totals*."""
        slot_files = self._storage.slot_files
        writer = f"slot{slot_files.slot}" if slot_files else "memory"
        with self._storage.lock:
            tables = [(kind, dict(table.entries)) for kind, table in self._storage.in_memory()]
        if tables or self._had_memory:
            totals = {kind: list(each) for kind, each in totals.items()}
            for kind in totals:
                self.table.mark_stale(kind)
        self._had_memory = bool(tables)
        for kind, cells in tables:
            values = [(key, table[at], table[at + 1]) for key, (table, at) in cells.items()]
            if kind == EXEMPLARS_KIND:
                self._merge_exemplars(cells, exemplars)
            elif kind.startswith("gauge"):
                gauges.add(kind, writer, [(self._key(key), v, t) for key, v, t in values])
            else:
                numbers = self.table.numbers_of_keys(kind, cells)
                added = totals.setdefault(kind, [])
                added += [0.0] * (self.table.size(kind) - len(added))
                for number, (_, value, _) in zip(numbers, values, strict=True):
                    added[number] += value
        return totals

    def _merge_exemplars(self, cells: Mapping[bytes, Cell], exemplars: Exemplars) -> None:
        for key, exemplar in read_exemplars(cells):
            labels, bound = split_bound(self._key(key))
            if bound is not None:
                known = exemplars.setdefault((self._key(key).family, labels), {})
                if bound not in known or known[bound].timestamp < exemplar.timestamp:
                    known[bound] = exemplar

    def _visible_gauges(self, gauges: MergedGauges) -> list[FamilySamples]:
        """Return the gauges whose names no counter, histogram or summary has."""
        return [each for each in gauges.families() if each.name not in self.table.families]

    def _entries(self, reader: ValueFileReader) -> dict[bytes, int]:
        entries = self._tables.setdefault(reader.path, {})
        entries.update(reader.appended())
        return entries

    def _key(self, key: bytes) -> Key:
        parsed = self._keys.get(key)
        if parsed is None:
            parsed = self._keys[key] = parse_key(key)
        return parsed

    @contextmanager
    def _tolerating(self, path: Path) -> Iterator[None]:
        """Skip the file at *path* if reading it fails."""
        try:
            yield
        except (CorruptFileError, OSError, ValueError, IndexError) as error:
            self._skip(path, error)

    def _skip(self, path: Path, error: Exception) -> None:
        self._drop(path)
        self._storage.problems.note("read", "metrics_file_skipped", path, error)

    def _drop(self, path: Path) -> None:
        self._readers.pop(path, None)
        self._tables.pop(path, None)
        if path in self._rows:
            # Series of this file alone must not remain with value 0: a counter must not go back.
            self._forget_series()

    def _forget_series(self) -> None:
        self.table = SeriesTable()
        self._seed(self.table)
        self._rows, self._sums = {}, {}
