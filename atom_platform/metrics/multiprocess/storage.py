"""
Where this process counts: files in its slot, another file system when theirs is full, else memory.

Whoever asks for a cell gets one: nothing here raises for what a file system does.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from atom_platform.metrics.multiprocess import membership
from atom_platform.metrics.multiprocess.directory import VARIABLE
from atom_platform.metrics.multiprocess.files import Cell, CellFile, MemoryFile
from atom_platform.metrics.multiprocess.place import Place
from atom_platform.metrics.multiprocess.problems import Problems

__all__ = ["STORAGE", "ReentryError", "Storage"]

#: How often a process that counts in memory looks for a better place.
_RETRY_SECONDS: Final = 10.0


class ReentryError(RuntimeError):
    """A signal handler or a finalizer came in while this very thread was making a cell."""


class Storage:
    """
    The cells of one process.

    Args:
        directory: Where the files go. None: this process is all there is, and memory will do.

    Attributes:
        lock: Held around every change of a cell. Re-entrant, because signal handlers and finalizers
            that log, and so count, run while their own thread may hold it.
        life: Changes in a forked child: what the parent began is not the child's to end.
        epoch: Changes when the cells handed out so far are no longer the ones to count into.
        problems: What went wrong, for the log.
    """

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self.lock = threading.RLock()
        self.epoch = 0
        self.life = 0
        self.problems = Problems()
        self._place: Place | None = None
        self._service: str | None = None
        self._files: dict[str, list[CellFile | MemoryFile]] = {}
        self._retry_at = 0.0
        self._busy = False
        self._on_reset: list[Callable[[], None]] = []
        os.register_at_fork(
            before=self.lock.acquire,
            after_in_parent=self.lock.release,
            after_in_child=self._after_fork,
        )

    @property
    def place(self) -> Place | None:
        """This process's place in the directory, if it has taken one."""
        return self._place

    def on_reset(self, forget: Callable[[], None]) -> None:
        """Have *forget* called, under the lock, whenever `epoch` changes."""
        self._on_reset.append(forget)

    def cell(self, kind: str, key: bytes) -> Cell:
        """
        Return the cell of *key* among those of *kind*, such as `counter` or `gauge_livesum`.

        Use it under the same hold of `lock`, or get it anew when `epoch` has changed.

        Raises:
            ReentryError: It interrupted itself.
        """
        with self.lock:
            for file in self._files.get(kind, ()):
                if key in file.entries:
                    return file.add(key)
            with self._exclusive():
                return self._add(kind, key)

    def keys(self, kind: str) -> list[bytes]:
        """Return the keys that this process's files of *kind* hold, its predecessors' included."""
        with self.lock, self._exclusive():
            return [key for file in self._opened(kind) for key in file.entries]

    def take_place(self) -> Place | None:
        """Take this process's place in the directory now rather than at its first cell."""
        with self.lock:
            if not self._busy:
                self._settle()
            return self._place

    def size(self, kind: str) -> int:
        """Return how many cells of *kind* this process has opened so far."""
        return sum(len(file.entries) for file in self._files.get(kind, ()))

    def in_memory(self) -> list[tuple[str, MemoryFile]]:
        """Return kind and table of what is counted in memory, which only this process can show."""
        with self.lock:
            return [
                (kind, file)
                for kind, files in self._files.items()
                for file in files
                if isinstance(file, MemoryFile)
            ]

    def heartbeat(self) -> None:
        """
        Notice that the directory was deleted or has room again, and count there again.

        Costs microseconds: call it every second or so in each process that counts. Never raises.
        """
        with self.lock:
            if self.directory is not None and not self._busy and not self._is_sound():
                with contextlib.suppress(OSError), self._exclusive():
                    self._move(self.directory)
        self.problems.log()

    def use(self, directory: Path | None) -> None:
        """Count in *directory* from now on, and leave behind what was counted so far."""
        with self.lock:
            self._forget()
            if self._place is not None:
                self._place.slots.close()
            self._place, self.directory, self._retry_at = None, directory, 0.0
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

    def _add(self, kind: str, key: bytes) -> Cell:
        files = self._opened(kind)
        for file in files:
            if key in file.entries:
                return file.add(key)
        last = files[-1]
        try:
            return last.add(key)
        except OSError as error:
            path = last.path if isinstance(last, CellFile) else Path()
            self.problems.note("write", "metrics_file_full", path, error)
        if len(files) == 1 and self._place is not None:
            spill = self._place.spill(kind)
            if spill is not None:
                files.append(spill)
                with contextlib.suppress(OSError):
                    return spill.add(key)
        files.append(MemoryFile())
        return files[-1].add(key)

    def _opened(self, kind: str) -> list[CellFile | MemoryFile]:
        files = self._files.get(kind)
        if files is None:
            self._settle()
            place = self._place
            files = list(place.open(kind)) if place else []
            if not files and place and (spill := place.spill(kind)) is not None:
                files = [spill]
            self._files[kind] = files = files or [MemoryFile()]
        return files

    def _settle(self, preferred: int = 0) -> None:
        """Take a place in the directory, if there is one to take."""
        if self._place is None and self.directory and time.monotonic() >= self._retry_at:
            try:
                self._place = Place(self.directory, self.problems, preferred=preferred)
                self._service = membership.service_of(self.directory)
            except OSError as error:
                self._retry_at = time.monotonic() + _RETRY_SECONDS
                self.problems.note("directory", "metrics_directory_unusable", self.directory, error)

    def _is_sound(self) -> bool:
        if self._place is not None and not self._place.is_current():
            return False
        return all(
            file.is_linked() if isinstance(file, CellFile) else time.monotonic() < self._retry_at
            for files in self._files.values()
            for file in files
        )

    def _move(self, directory: Path) -> None:
        """Count where others can find it again, and take along what they no longer can."""
        self._retry_at = time.monotonic() + _RETRY_SECONDS
        if not membership.return_to(directory):
            return
        carried = [
            (kind, entry)
            for kind, files in self._files.items()
            for file in files
            if isinstance(file, MemoryFile) or not file.is_linked()
            for entry in file.values()
        ]
        service, place = self._service, self._place
        self._forget()
        self._retry_at = 0.0
        if place is not None and not place.is_current():
            place.slots.close()
            self._place = None
            self._settle(preferred=place.slot)
        else:
            self._settle()
        self._retry_at = time.monotonic() + _RETRY_SECONDS
        if service is not None and service != self._service:
            return  # the directory's next service starts at zero, even with a job of the last
        for kind, (key, value, timestamp) in carried:
            cells, at = self._add(kind, key)
            if kind.startswith("gauge"):
                cells[at], cells[at + 1] = value, timestamp
            else:
                cells[at] += value

    def _forget(self) -> None:
        for files in self._files.values():
            for file in files:
                if isinstance(file, CellFile):
                    file.close()
        self._files = {}
        self.epoch += 1
        for forget in self._on_reset:
            forget()

    def _after_fork(self) -> None:
        # The slot stays the parent's. The lock file's descriptor was inherited, the locks were not.
        if self._place is not None:
            self._place.slots.close()
            self._place = None
        self._busy, self._retry_at = False, 0.0
        self.life += 1
        self.problems.forget()
        self._forget()
        self.lock.release()


#: This process's own.
STORAGE: Final = Storage(Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
