"""
Where this process counts: files in its slot, another file system when theirs is full, else memory.

Whoever asks for a cell gets one: nothing here raises for what a file system does.
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

#: How often a process without a place in the directory tries to get one.
_RETRY_SECONDS: Final = 10.0
#: By then every process that has a heartbeat has noticed that the directory was deleted.
_MOVING_SECONDS: Final = 2.0


class ReentryError(RuntimeError):
    """A signal handler or a finalizer came in while this very thread was making a cell."""


class Storage:
    """
    The cells of one process.

    Args:
        directory: Where the files go. None: this process is all there is, and memory will do.

    Attributes:
        lock: Held around every change of a cell (but see `metrics/http_metrics.py`). Re-entrant, as
            signal handlers and finalizers that log, and so count, may interrupt who holds it.
        fork_generation: Changes in a forked child: what the parent began is not the child's to end.
        generation: Changes when the cells handed out so far are no longer the ones to count into.
        problems: What went wrong, for the log.
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
        """This process's place in the directory, if it has taken one."""
        return self._slot_files

    def is_slot_held(self, slot: int) -> bool:
        """Return whether any process counts in *slot*, be it in a directory that was deleted."""
        with self.lock:
            known = [self._deleted_slots] if self._deleted_slots else []
            if self._slot_files is not None:
                known.append(self._slot_files.slots)
                if slot == self._slot_files.slot:
                    return True
            return any(slots.holder(slot) is not None for slots in known)

    def is_moving(self) -> bool:
        """Return whether other processes may be about to follow this one to a new directory."""
        with self.lock:
            late = time.monotonic() > self._moved_at + _MOVING_SECONDS
            return (
                self._deleted_slots is not None
                and not late
                and self._deleted_slots.has_other_holders()
            )

    def on_invalidate(self, forget: Callable[[], None]) -> None:
        """Have *forget* called, under the lock, whenever `generation` changes."""
        self._on_invalidate.append(forget)

    def cell(self, kind: str, key: bytes) -> Cell:
        """
        Return the cell of *key* among those of *kind*, such as `counter` or `gauge_livesum`.

        Use it under the same hold of `lock`, or get it anew when `generation` has changed.

        Raises:
            ReentryError: It interrupted itself.
        """
        with self.lock:
            file_set = self._file_sets.get(kind)
            found = file_set.find(key) if file_set else None
            if found is not None:
                return found
            with self._exclusive():
                return self._file_set(kind).add(key)

    def keys(self, kind: str) -> Iterable[bytes]:
        """Return the keys that this process's files of *kind* hold, its predecessors' included."""
        with self.lock, self._exclusive():
            return self._file_set(kind).keys()

    def cell_count(self, kind: str) -> int:
        """Return how many cells of *kind* this process has opened so far."""
        with self.lock:
            file_set = self._file_sets.get(kind)
            return sum(len(file.entries) for file in file_set.files) if file_set else 0

    def claim_slot(self) -> SlotFiles | None:
        """Take this process's place in the directory now rather than at its first cell."""
        with self.lock:
            if not self._busy:
                self._try_claim_slot()
            return self._slot_files

    def in_memory(self) -> list[tuple[str, MemoryValues]]:
        """Return kind and table of what is counted in memory, which only this process can show."""
        with self.lock:
            files = [
                (kind, file)
                for kind, file_set in self._file_sets.items()
                for file in file_set.files
            ]
        return [(kind, file) for kind, file in files if isinstance(file, MemoryValues)]

    def heartbeat(self) -> None:
        """
        Notice that the directory was deleted or has room again, and count there again.

        Costs microseconds: call it every second or so in each process that counts. Never raises.
        """
        with self.lock:
            if self.directory is not None and not self._busy and not self._is_sound():
                with contextlib.suppress(OSError), self._exclusive():
                    self._move_to(self.directory)
        self.problems.log()

    def switch_to(self, directory: Path | None) -> None:
        """Count in *directory* from now on, and leave behind what was counted so far."""
        with self.lock:
            self._close_files()
            self._close_slots()
            self.directory, self._retry_at = directory, 0.0
            self.problems.forget()

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        if self._busy:
            raise ReentryError
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def _file_set(self, kind: str) -> FileSet:
        file_set = self._file_sets.get(kind)
        if file_set is None:
            self._try_claim_slot()
            file_set = self._file_sets.get(kind) or FileSet(kind, self._slot_files)
            self._file_sets[kind] = file_set
        return file_set

    def _try_claim_slot(self, preferred: int = 0) -> None:
        """Take a place in the directory, if there is one to take."""
        if self._slot_files is None and self.directory and time.monotonic() >= self._retry_at:
            try:
                self._slot_files = SlotFiles(
                    self.directory, self.problems, preferred=preferred, avoided=self._parents_slot
                )
                self._service = service_of(self.directory)
                # All that the slot has, counted into or not: should the directory be deleted, then
                # what a predecessor left is this process's to carry on.
                for kind in self._slot_files.kinds():
                    self._file_sets[kind] = FileSet(kind, self._slot_files)
            except OSError as error:
                self._retry_at = time.monotonic() + _RETRY_SECONDS
                self.problems.note("directory", "metrics_directory_unusable", self.directory, error)

    def _is_sound(self) -> bool:
        current = self._slot_files is None or self._slot_files.slots.is_current()
        return current and all(file_set.is_sound() for file_set in self._file_sets.values())

    def _move_to(self, directory: Path) -> None:
        """Count where others can find it again, and take along what they no longer can."""
        if not recreate_if_deleted(directory):
            return
        # First, so that who counts without the lock finds no cell whose number is taken already.
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
            # Kept open: it tells who still counts into files that have lost their names.
            slot_files.slots.release_all()
            if self._deleted_slots is not None:
                self._deleted_slots.close()
            self._deleted_slots, self._slot_files = slot_files.slots, None
            self._moved_at = time.monotonic()
        self._try_claim_slot(preferred=slot_files.slot if slot_files else 0)
        if service is None or service == self._service:  # else a new life, which starts at zero
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
        """Have all cells that were handed out forgotten."""
        self.generation += 1
        for forget in self._on_invalidate:
            forget()

    def _after_fork(self) -> None:
        # The slot stays the parent's. The lock file's descriptor was inherited, the locks were not.
        self._parents_slot = self._slot_files.slot if self._slot_files else None
        self._close_slots()
        self._busy, self._retry_at = False, 0.0
        self.fork_generation += 1
        self.problems.forget()
        self._close_files()
        self.lock.release()


#: This process's own.
STORAGE: Final = Storage(Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
