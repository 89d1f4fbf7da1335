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
from atom_platform.metrics.multiprocess import membership
from atom_platform.metrics.multiprocess.chain import Chain
from atom_platform.metrics.multiprocess.directory import VARIABLE
from atom_platform.metrics.multiprocess.files import Cell, MemoryFile
from atom_platform.metrics.multiprocess.place import Place
from atom_platform.metrics.multiprocess.problems import Problems
from atom_platform.metrics.multiprocess.slots import SlotFile

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
        lock: Held around every change of a cell (but see `metrics/requests.py`). Re-entrant, as
            signal handlers and finalizers that log, and so count, may interrupt who holds it.
        life: Changes in a forked child: what the parent began is not the child's to end.
        epoch: Changes when the cells handed out so far are no longer the ones to count into.
        problems: What went wrong, for the log.
    """

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self.lock = threading.RLock()
        self.epoch = self.life = 0
        self.problems = Problems()
        self._place: Place | None = None
        self._parents_slot: int | None = None
        self._service: str | None = None
        self._former: SlotFile | None = None
        self._chains: dict[str, Chain] = {}
        self._moved_at = self._retry_at = 0.0
        self._busy = False
        self._on_reset: list[Callable[[], None]] = []
        at_fork(
            "metrics_storage",
            before=self.lock.acquire,
            after_in_parent=self.lock.release,
            after_in_child=self._after_fork,
        )

    @property
    def place(self) -> Place | None:
        """This process's place in the directory, if it has taken one."""
        return self._place

    def holds(self, slot: int) -> bool:
        """Return whether any process counts in *slot*, be it in a directory that was deleted."""
        with self.lock:
            known = [self._former] if self._former else []
            if self._place is not None:
                known.append(self._place.slots)
                if slot == self._place.slot:
                    return True
            return any(slots.holder(slot) is not None for slots in known)

    def is_moving(self) -> bool:
        """Return whether other processes may be about to follow this one to a new directory."""
        with self.lock:
            late = time.monotonic() > self._moved_at + _MOVING_SECONDS
            return self._former is not None and not late and self._former.has_others()

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
            chain = self._chains.get(kind)
            found = chain.find(key) if chain else None
            if found is not None:
                return found
            with self._exclusive():
                return self._chain(kind).add(key)

    def keys(self, kind: str) -> Iterable[bytes]:
        """Return the keys that this process's files of *kind* hold, its predecessors' included."""
        with self.lock, self._exclusive():
            return self._chain(kind).keys()

    def size(self, kind: str) -> int:
        """Return how many cells of *kind* this process has opened so far."""
        with self.lock:
            chain = self._chains.get(kind)
            return sum(len(file.entries) for file in chain.files) if chain else 0

    def take_place(self) -> Place | None:
        """Take this process's place in the directory now rather than at its first cell."""
        with self.lock:
            if not self._busy:
                self._settle()
            return self._place

    def in_memory(self) -> list[tuple[str, MemoryFile]]:
        """Return kind and table of what is counted in memory, which only this process can show."""
        with self.lock:
            files = [(kind, file) for kind, chain in self._chains.items() for file in chain.files]
        return [(kind, file) for kind, file in files if isinstance(file, MemoryFile)]

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

    def _chain(self, kind: str) -> Chain:
        chain = self._chains.get(kind)
        if chain is None:
            self._settle()
            chain = self._chains.get(kind) or Chain(kind, self._place)
            self._chains[kind] = chain
        return chain

    def _settle(self, preferred: int = 0) -> None:
        """Take a place in the directory, if there is one to take."""
        if self._place is None and self.directory and time.monotonic() >= self._retry_at:
            try:
                self._place = Place(
                    self.directory, self.problems, preferred=preferred, avoided=self._parents_slot
                )
                self._service = membership.service_of(self.directory)
                # All that the slot has, counted into or not: should the directory be deleted, then
                # what a predecessor left is this process's to carry on.
                for kind in self._place.kinds():
                    self._chains[kind] = Chain(kind, self._place)
            except OSError as error:
                self._retry_at = time.monotonic() + _RETRY_SECONDS
                self.problems.note("directory", "metrics_directory_unusable", self.directory, error)

    def _is_sound(self) -> bool:
        current = self._place is None or self._place.slots.is_current()
        return current and all(chain.is_sound() for chain in self._chains.values())

    def _move(self, directory: Path) -> None:
        """Count where others can find it again, and take along what they no longer can."""
        if not membership.return_to(directory):
            return
        # First, so that who counts without the lock finds no cell whose number is taken already.
        self._announce()
        carried = [
            (kind, entry) for kind, chain in self._chains.items() for entry in chain.unreachable()
        ]
        service, place = self._service, self._place
        self._forget()
        self._retry_at = 0.0
        if place is not None and not place.slots.is_current():
            # Kept open: it tells who still counts into files that have lost their names.
            place.slots.give_up()
            if self._former is not None:
                self._former.close()
            self._former, self._place = place.slots, None
            self._moved_at = time.monotonic()
        self._settle(preferred=place.slot if place else 0)
        if service is None or service == self._service:  # else a new life, which starts at zero
            for kind, entry in carried:
                self._chain(kind).put(entry)

    def _close_slots(self) -> None:
        if self._place is not None:
            self._place.slots.close()
        if self._former is not None:
            self._former.close()
        self._place = self._former = None

    def _forget(self) -> None:
        for chain in self._chains.values():
            chain.close()
        self._chains = {}
        self._announce()

    def _announce(self) -> None:
        """Have all cells that were handed out forgotten."""
        self.epoch += 1
        for forget in self._on_reset:
            forget()

    def _after_fork(self) -> None:
        # The slot stays the parent's. The lock file's descriptor was inherited, the locks were not.
        self._parents_slot = self._place.slot if self._place else None
        self._close_slots()
        self._busy, self._retry_at = False, 0.0
        self.life += 1
        self.problems.forget()
        self._forget()
        self.lock.release()


#: This process's own.
STORAGE: Final = Storage(Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
