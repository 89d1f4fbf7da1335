"""
The files of the slot that this process holds.

`SlotFiles` opens them, and sets corrupt ones aside. A `FileSet` holds the metrics of one kind: in
the slot's file, in one on another file system if the disk is full, or in memory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from atom_platform.metrics.storage.client_format import CorruptFileError, FileName, parse_name
from atom_platform.metrics.storage.columnar_files import ColumnarFile
from atom_platform.metrics.storage.columnar_format import SUMMED_KINDS
from atom_platform.metrics.storage.directory import may_count_in
from atom_platform.metrics.storage.directory_lock import spill_directory
from atom_platform.metrics.storage.problem_log import ProblemLog
from atom_platform.metrics.storage.slots import SlotFile
from atom_platform.metrics.storage.value_files import Cell, MemoryValues, ValueFile

__all__ = ["Entry", "FileSet", "SlotFiles"]

_DISK_FULL: Final = {errno.ENOSPC, errno.EDQUOT}

#: The number of corrupt files that are kept for analysis.
_CORRUPT_KEPT: Final = 8


class SlotFiles:
    """
    A slot of *directory*, held until the process ends.

    Args:
        problems: Where problems with the files are reported.
        preferred: The slot to take if it is free.
        avoided: A slot not to take: its holder still counts into deleted files, and will claim it.

    Raises:
        OSError: The directory was deleted, is not writable, or belongs to another service.
    """

    def __init__(
        self,
        directory: Path,
        problems: ProblemLog,
        *,
        preferred: int = 0,
        avoided: int | None = None,
    ) -> None:
        if not may_count_in(directory):
            raise OSError(errno.EBUSY, "owned by another service", str(directory))
        self.directory = directory
        self.slots = SlotFile(directory)
        self._problems = problems
        self.slot = self.slots.claim(preferred=preferred, avoided=avoided)
        spill = spill_directory(directory, create=False)
        for parent in (directory, spill):
            if parent is not None:
                for name in self._names(parent):
                    if name.is_live_gauge:
                        (parent / name.name).unlink(missing_ok=True)
        # Last: a scrape must not read the live gauges of the slot's previous, dead holder.
        self.slots.mark_live(self.slot)

    def kinds(self) -> set[str]:
        """Return the kinds of metrics for which the slot has files."""
        parents = [self.directory, spill_directory(self.directory, create=False)]
        return {
            name.kind for parent in parents if parent is not None for name in self._names(parent)
        }

    def open(self, kind: str) -> list[ValueFile | ColumnarFile]:
        """Return the usable files of *kind*. The last of them is the one to add new keys to."""
        paths = [self.directory / self._name(kind)]
        former = self.directory / f"{kind}_slot{self.slot}.db"
        if former not in paths and former.exists():
            # The file of an earlier version that was replaced by SIGUSR2: its counts continue.
            paths.insert(0, former)
        spill = spill_directory(self.directory, create=False)
        if spill is not None and (spill / self._name(kind)).exists():
            paths.append(spill / self._name(kind))
        return [file for path in paths if (file := self._opened(path, kind)) is not None]

    def note_unwritable(self, path: Path, error: Exception) -> None:
        """Report that *path* is not writable. A full disk is logged by one process of a service."""
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            self._problems.note(
                "write",
                "metrics_directory_full",
                self.directory,
                error,
                logged=self.slots.claim_logging(),
            )
        else:
            self._problems.note("write", "metrics_file_unusable", path, error)

    def spill(self, kind: str) -> ValueFile | ColumnarFile | None:
        """Return a file for *kind* on another file system, or None if that has no room either."""
        parent = spill_directory(self.directory, create=True)
        return None if parent is None else self._opened(parent / self._name(kind), kind)

    def _names(self, parent: Path) -> list[FileName]:
        """Return the names of the slot's files in *parent*."""
        found = map(parse_name, os.listdir(parent))  # noqa: PTH208 — names suffice
        return [name for name in found if name is not None and name.slot == self.slot]

    def _name(self, kind: str) -> str:
        # prometheus_client reads every `*.db`, and knows neither columnar files nor exemplars.
        suffix = (
            "columnar" if kind in SUMMED_KINDS else "exemplars" if kind == "exemplars" else "db"
        )
        return f"{kind}_slot{self.slot}.{suffix}"

    def _opened(self, path: Path, kind: str) -> ValueFile | ColumnarFile | None:
        """Return the file at *path*, a new one in place of a corrupt one, or None on an error."""
        for _ in range(2):
            try:
                return ColumnarFile(path, kind) if path.suffix == ".columnar" else ValueFile(path)
            except CorruptFileError as error:
                self._problems.note("read", "metrics_file_set_aside", path, error)
                with contextlib.suppress(OSError):
                    self._set_aside(path)
                if path.name != self._name(kind):
                    break
            except (OSError, ValueError) as error:
                self.note_unwritable(path, error)
                break
        return None

    @staticmethod
    def _set_aside(path: Path) -> None:
        """Rename a corrupt file, or delete it if enough of them are kept."""
        kept = len(list(path.parent.glob("*.corrupt")))
        if kept >= _CORRUPT_KEPT:
            path.unlink()
        else:
            path.rename(path.with_name(f"{path.name}.{kept}.corrupt"))


#: Key, value and timestamp.
Entry = tuple[bytes, float, float]

#: Seconds after which a process that counts in memory tries a file again.
_RETRY_SECONDS: Final = 10.0


class FileSet:
    """
    Where one process counts metrics of one kind.

    Each key is in one of the files. A new key goes to the last file, or to a further one if that is
    full.

    Args:
        kind: Such as `counter` or `gauge_livesum`.
        slot_files: The files of the process's slot. None: count in memory.
    """

    def __init__(self, kind: str, slot_files: SlotFiles | None) -> None:
        self._kind = kind
        self._slot_files = slot_files
        self.files: list[ValueFile | ColumnarFile | MemoryValues] = (
            list(slot_files.open(kind)) if slot_files else []
        )
        if not self.files:
            self._append_file()
        self._retry_at = time.monotonic() + _RETRY_SECONDS

    def find(self, key: bytes) -> Cell | None:
        """Return the cell of *key*, or None if there is none yet."""
        for file in self.files:
            found = file.find(key)
            if found is not None:
                return found
        return None

    def add(self, key: bytes) -> Cell:
        """Return the cell of *key*, created with value 0 if there is none. Never fails."""
        found = self.find(key)
        while found is None:
            last = self.files[-1]
            try:
                found = last.add(key)
            except OSError as error:
                if self._slot_files is not None and not isinstance(last, MemoryValues):
                    self._slot_files.note_unwritable(last.path, error)
                self._append_file()
        return found

    def keys(self) -> Iterable[bytes]:
        """Return the keys of all files."""
        return [key for file in self.files for key in file.all_keys()]

    def is_sound(self) -> bool:
        """Return whether other processes can read all values, or it is too early to try again."""
        return all(
            time.monotonic() < self._retry_at
            if isinstance(file, MemoryValues)
            else file.is_linked()
            for file in self.files
        )

    def unreachable(self) -> list[Entry]:
        """Return the values that other processes cannot read: in memory or in deleted files."""
        return [
            entry
            for file in self.files
            if isinstance(file, MemoryValues) or not file.is_linked()
            for entry in file.values()
        ]

    def put(self, entry: Entry) -> None:
        """Add a value that was counted in another file; replace it if it is a gauge."""
        key, value, timestamp = entry
        cells, at = self.add(key)
        if self._kind.startswith("gauge"):
            cells[at], cells[at + 1] = value, timestamp
        else:
            cells[at] += value

    def close(self) -> None:
        """Close the files. Their values stay on disk."""
        for file in self.files:
            if not isinstance(file, MemoryValues):
                with contextlib.suppress(OSError):
                    file.close()

    def _append_file(self) -> None:
        """Add a file on another file system, or a table in memory if that fails."""
        tried = any(
            not isinstance(file, MemoryValues) and self._is_spill(file) for file in self.files
        )
        spill = self._slot_files.spill(self._kind) if self._slot_files and not tried else None
        self.files.append(spill or MemoryValues())

    def _is_spill(self, file: ValueFile | ColumnarFile | MemoryValues) -> bool:
        if self._slot_files is None or isinstance(file, MemoryValues):
            return False
        return file.path.parent != self._slot_files.directory
