"""
The scrape's view of a metrics directory: every file of it that can be read, merged.

What cannot be read is skipped, counted and logged, and tried again at the next scrape: a bad file
costs its own numbers and nobody else's. Workers that come, go and write meanwhile are the normal
case.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from atom_platform.metrics.multiprocess.exemplars import EXEMPLARS_KIND, read_exemplars
from atom_platform.metrics.multiprocess.families import FamilySamples
from atom_platform.metrics.multiprocess.format import CorruptFileError, Key, parse_key
from atom_platform.metrics.multiprocess.merge import Merge
from atom_platform.metrics.multiprocess.ownership import spill_directory
from atom_platform.metrics.multiprocess.reader import FileName, FileReader, parse_name
from atom_platform.metrics.multiprocess.storage import STORAGE, Storage

__all__ = ["Collector"]


class Collector:
    """
    Reads what all processes of the service have counted.

    Not safe for several threads at once.

    Args:
        storage: This process's own; its directory is what is read.
        is_alive: Whether the process behind a plain prometheus_client file still runs.
    """

    def __init__(
        self, storage: Storage = STORAGE, *, is_alive: Callable[[str], bool] | None = None
    ) -> None:
        self._storage = storage
        self._is_alive = is_alive or _is_alive
        self._readers: dict[Path, FileReader] = {}
        self._keys: dict[bytes, Key] = {}

    def collect(self) -> list[FamilySamples]:
        """Return everything, family by family, in no order. Never raises for what it reads."""
        self._storage.take_place()  # without one there is no telling whose live gauges are alive
        merge = Merge()
        for reader in self._current():
            try:
                reader.refresh()
                cells, keys = reader.cells, self._keys
                if reader.name.kind == EXEMPLARS_KIND:
                    for key, exemplar in read_exemplars(cells, dict(reader.entries)):
                        merge.add_exemplar(keys[key], exemplar)
                    continue
                merge.add(
                    reader.name.kind,
                    reader.name.writer,
                    [(keys[key], cells[at], cells[at + 1]) for key, at in reader.entries],
                )
            except (CorruptFileError, OSError, ValueError) as error:
                self._skip(reader.path, error)
        for kind, table in self._storage.in_memory():
            if kind != EXEMPLARS_KIND:
                with self._storage.lock:
                    values = table.values()
                writer = f"slot{self._storage.place.slot}" if self._storage.place else "memory"
                merge.add(kind, writer, [(parse_key(key), v, t) for key, v, t in values])
        return merge.families()

    def _current(self) -> list[FileReader]:
        """Return the readers of the files that count now, always in the same order."""
        directory = self._storage.directory
        if directory is None:
            return []
        found: dict[Path, FileName] = {}
        for parent in (directory, spill_directory(directory, create=False)):
            if parent is not None:
                found.update(self._listed(parent))
        found = {path: name for path, name in found.items() if self._counts(name)}
        for path in [path for path in self._readers if path not in found]:
            del self._readers[path]
        readers = []
        # A sum of the same numbers in another order may differ in its last bit, and a counter that
        # seems to go back by that much looks like a restart. With one order it never goes back.
        for path, name in sorted(found.items(), key=lambda item: _order(*item)):
            reader = self._reader(path, name)
            if reader is not None:
                readers.append(reader)
        return readers

    def _counts(self, name: FileName) -> bool:
        """Return whether a file's numbers are those of a process that they still describe."""
        if not name.is_live_gauge:
            return True
        if name.slot is None:
            return self._is_alive(name.writer)
        # Whoever is live has removed its predecessor's file by now, and files are looked up by name
        # after this: what is then found under the name is the holder's own.
        place = self._storage.place
        return place is not None and (
            name.slot == place.slot or place.slots.live_holder(name.slot) is not None
        )

    def _listed(self, parent: Path) -> dict[Path, FileName]:
        try:
            with os.scandir(parent) as entries:
                names = [entry.name for entry in entries]
        except OSError as error:
            self._skip(parent, error)
            return {}
        return {parent / each: name for each in names if (name := parse_name(each)) is not None}

    def _reader(self, path: Path, name: FileName) -> FileReader | None:
        reader = self._readers.get(path)
        try:
            if reader is None or not reader.is_same_file():
                reader = self._readers[path] = FileReader(path, name, self._keys)
        except FileNotFoundError:
            self._readers.pop(path, None)  # gone since the listing
            return None
        except (CorruptFileError, OSError, ValueError) as error:
            self._skip(path, error)
            return None
        return reader

    def _skip(self, path: Path, error: Exception) -> None:
        self._readers.pop(path, None)
        self._storage.problems.note("read", "metrics_file_skipped", path, error)


def _order(path: Path, name: FileName) -> tuple[str, bool, int, str, str]:
    number = name.slot if name.slot is not None else -1
    return name.kind, name.slot is None, number, name.writer, str(path.parent)


def _is_alive(pid: str) -> bool:
    if not (pid.isascii() and pid.isdigit()):
        return True  # not a pid: some other identifier of prometheus_client's choosing
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
