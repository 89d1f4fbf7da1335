"""
The storage of one process's metrics: a *cell* for each value that it counts.

The cells are in the files of the process's slot; on another file system if the disk is full; in
memory if no file can be written. A file system error never reaches the caller.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from atom_platform.forking import at_fork
from atom_platform.metrics.storage.directory import VARIABLE, recreate_if_deleted, service_of
from atom_platform.metrics.storage.problem_log import ProblemLog
from atom_platform.metrics.storage.slot_files import FileSet, SlotFiles
from atom_platform.metrics.storage.slots import SlotFile
from atom_platform.metrics.storage.value_files import Cell, MemoryValues

__all__ = ["STORAGE", "ReentryError", "Storage"]

#: Seconds after which a process without a slot tries again to claim one.
_RETRY_SECONDS: Final = 10.0
#: Seconds within which each process with a heartbeat notices that the directory was deleted.
_MOVING_SECONDS: Final = 2.0


class ReentryError(RuntimeError):
    """A signal handler or finalizer asked for a cell while its thread was creating one."""


class Storage:
    """
    The cells of one process.

    Args:
        directory: The metrics directory. None: count in memory, for this process alone.

    Attributes:
        lock: Held for every change of a cell. Re-entrant:
            signal handlers and finalizers log, logging counts, and they may interrupt its holder.
        fork_generation: One more in a forked child. A child must not end what its parent began.
        generation: One more whenever cells that were returned earlier must not be used any more.
        problems: What failed, to be counted and logged.
    """

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self.lock = threading.RLock()
        self.generation = self.fork_generation = 0
        self.problems = ProblemLog()
        self._slot_files: SlotFiles | None = None
        self._parents_slot: int | None = None
        self._service: str | None = None
        self._deleted_slots: SlotFile | None = None
        self._file_sets: dict[str, FileSet] = {}
        self._moved_at = self._retry_at = 0.0
        self._busy = False
        self._on_invalidate: list[Callable[[], None]] = []
        at_fork(
            "metrics_storage",
            before=self.lock.acquire,
            after_in_parent=self.lock.release,
            after_in_child=self._after_fork,
        )

    @property
    def slot_files(self) -> SlotFiles | None:
        """The files of this process's slot, or None if it has none."""
        return self._slot_files

    def is_slot_held(self, slot: int) -> bool:
        """Return whether any process holds *slot*, be it of a directory that was deleted."""
        with self.lock:
            known = [self._deleted_slots] if self._deleted_slots else []
            if self._slot_files is not None:
                known.append(self._slot_files.slots)
                if slot == self._slot_files.slot:
                    return True
            return any(slots.holder(slot) is not None for slots in known)

    def is_moving(self) -> bool:
        """Return whether other processes may still count into a directory that was deleted."""
        with self.lock:
            late = time.monotonic() > self._moved_at + _MOVING_SECONDS
            return (
                self._deleted_slots is not None
                and not late
                and self._deleted_slots.has_other_holders()
            )

    def on_invalidate(self, forget: Callable[[], None]) -> None:
        """Register *forget*, to be called under the lock whenever `generation` changes."""
        self._on_invalidate.append(forget)

    def cell(self, kind: str, key: bytes) -> Cell:
        """
        Return the cell of *key*, created if there is none.

        Use it before releasing `lock`, or ask again whenever `generation` has changed.

        Args:
            kind: Such as `counter` or `gauge_livesum`.
            key: As `prometheus_client.mmap_dict.mmap_key` makes it, encoded.

        Raises:
            ReentryError: The call interrupted another one of the same thread.
        """
        with self.lock:
            file_set = self._file_sets.get(kind)
            found = file_set.find(key) if file_set else None
            if found is not None:
                return found
            with self._exclusive():
                return self._file_set(kind).add(key)

    def keys(self, kind: str) -> Iterable[bytes]:
        """Return the keys in this process's files of *kind*, those of earlier slot holders too."""
        with self.lock, self._exclusive():
            return self._file_set(kind).keys()

    def cell_count(self, kind: str) -> int:
        """Return how many cells of *kind* this process has opened so far."""
        with self.lock:
            file_set = self._file_sets.get(kind)
            return sum(len(file.entries) for file in file_set.files) if file_set else 0

    def claim_slot(self) -> SlotFiles | None:
        """Claim a slot now, not only when the first cell is created."""
        with self.lock:
            if not self._busy:
                self._try_claim_slot()
            return self._slot_files

    def in_memory(self) -> list[tuple[str, MemoryValues]]:
        """Return kind and values of what is counted in memory: only this process can show them."""
        with self.lock:
            files = [
                (kind, file)
                for kind, file_set in self._file_sets.items()
                for file in file_set.files
            ]
        return [(kind, file) for kind, file in files if isinstance(file, MemoryValues)]

    def heartbeat(self) -> None:
        """
        Move the cells to new files if the directory was deleted or has room again.

        It takes microseconds. Call it about every second in each process that counts. Never raises.
        """
        with self.lock:
            if self.directory is not None and not self._busy and not self._is_sound():
                with contextlib.suppress(OSError), self._exclusive():
                    self._move_to(self.directory)
        self.problems.log()

    def switch_to(self, directory: Path | None) -> None:
        """Count in *directory* from now on. The values so far stay where they are."""
        with self.lock:
            self._close_files()
            self._close_slots()
            self.directory, self._retry_at = directory, 0.0
            self.problems.forget()

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Raise ReentryError if this thread is already inside: the lock itself is re-entrant."""
        if self._busy:
            raise ReentryError
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def _file_set(self, kind: str) -> FileSet:
        """Return the files of *kind*, opened if they are not; the first call claims a slot."""
        file_set = self._file_sets.get(kind)
        if file_set is None:
            self._try_claim_slot()
            file_set = self._file_sets.get(kind) or FileSet(kind, self._slot_files)
            self._file_sets[kind] = file_set
        return file_set

    def _try_claim_slot(self, preferred: int = 0) -> None:
        """Claim a slot and open its files, unless the last attempt failed a moment ago."""
        if self._slot_files is None and self.directory and time.monotonic() >= self._retry_at:
            try:
                self._slot_files = SlotFiles(
                    self.directory, self.problems, preferred=preferred, avoided=self._parents_slot
                )
                self._service = service_of(self.directory)
                # All files of the slot, used or not: if the directory is deleted, this process
                # must carry over the values of earlier slot holders too.
                for kind in self._slot_files.kinds():
                    self._file_sets[kind] = FileSet(kind, self._slot_files)
            except OSError as error:
                self._retry_at = time.monotonic() + _RETRY_SECONDS
                self.problems.note("directory", "metrics_directory_unusable", self.directory, error)

    def _is_sound(self) -> bool:
        """Return whether the directory still exists and other processes can read all values."""
        current = self._slot_files is None or self._slot_files.slots.is_current()
        return current and all(file_set.is_sound() for file_set in self._file_sets.values())

    def _move_to(self, directory: Path) -> None:
        """Open new files in *directory*, and carry over values that others cannot read any more."""
        if not recreate_if_deleted(directory):
            return
        # First: no thread may count into a cell whose value was already read to be carried over.
        self._invalidate_cells()
        carried = [
            (kind, entry)
            for kind, file_set in self._file_sets.items()
            for entry in file_set.unreachable()
        ]
        service, slot_files = self._service, self._slot_files
        self._close_files()
        self._retry_at = 0.0
        if slot_files is not None and not slot_files.slots.is_current():
            # Kept open: its locks show which processes still count into the deleted files.
            slot_files.slots.release_all()
            if self._deleted_slots is not None:
                self._deleted_slots.close()
            self._deleted_slots, self._slot_files = slot_files.slots, None
            self._moved_at = time.monotonic()
        self._try_claim_slot(preferred=slot_files.slot if slot_files else 0)
        if service is None or service == self._service:  # a new service starts at zero
            for kind, entry in carried:
                self._file_set(kind).put(entry)

    def _close_slots(self) -> None:
        if self._slot_files is not None:
            self._slot_files.slots.close()
        if self._deleted_slots is not None:
            self._deleted_slots.close()
        self._slot_files = self._deleted_slots = None

    def _close_files(self) -> None:
        for file_set in self._file_sets.values():
            file_set.close()
        self._file_sets = {}
        self._invalidate_cells()

    def _invalidate_cells(self) -> None:
        """Have all cells that were returned so far forgotten by their users."""
        self.generation += 1
        for forget in self._on_invalidate:
            forget()

    def _after_fork(self) -> None:
        """Start without a slot in a forked child."""
        # The slot is the parent's: a fork inherits the descriptor, but not the record locks.
        self._parents_slot = self._slot_files.slot if self._slot_files else None
        self._close_slots()
        self._busy, self._retry_at = False, 0.0
        self.fork_generation += 1
        self.problems.forget()
        self._close_files()
        self.lock.release()


#: The storage of this process.
STORAGE: Final = Storage(Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
