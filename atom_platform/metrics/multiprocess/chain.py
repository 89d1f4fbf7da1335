"""Where one process counts metrics of one kind: a file, one elsewhere, then memory."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Final

from atom_platform.metrics.multiprocess.files import Cell, CellFile, MemoryFile
from atom_platform.metrics.multiprocess.place import Place
from atom_platform.metrics.multiprocess.tally_file import TallyFile

__all__ = ["Chain", "Entry"]

#: Key, value and timestamp.
Entry = tuple[bytes, float, float]

#: How often a process that counts in memory looks for a better place.
_RETRY_SECONDS: Final = 10.0


class Chain:
    """
    A key lives in one file of the chain; a new one goes to the first that has room.

    Args:
        kind: Such as `counter` or `gauge_livesum`.
        place: The process's place in the directory; without one, memory is all there is.
    """

    def __init__(self, kind: str, place: Place | None) -> None:
        self._kind = kind
        self._place = place
        self.files: list[CellFile | TallyFile | MemoryFile] = (
            list(place.open(kind)) if place else []
        )
        if not self.files:
            self._lengthen()
        self._retry_at = time.monotonic() + _RETRY_SECONDS

    def find(self, key: bytes) -> Cell | None:
        """Return the cell of *key*, or None if there is none yet."""
        for file in self.files:
            found = file.find(key)
            if found is not None:
                return found
        return None

    def add(self, key: bytes) -> Cell:
        """Return the cell of *key*, made with value 0 if there is none. Memory always has room."""
        found = self.find(key)
        while found is None:
            last = self.files[-1]
            try:
                found = last.add(key)
            except OSError as error:
                if self._place is not None and not isinstance(last, MemoryFile):
                    self._place.note_unwritable(last.path, error)
                self._lengthen()
        return found

    def keys(self) -> Iterable[bytes]:
        """Return every key of the chain."""
        return [key for file in self.files for key in file.all_keys()]

    def is_sound(self) -> bool:
        """Return whether others can read it all, or it is not yet time to try that again."""
        return all(
            time.monotonic() < self._retry_at if isinstance(file, MemoryFile) else file.is_linked()
            for file in self.files
        )

    def unreachable(self) -> list[Entry]:
        """Return what others cannot read: in memory, or in files that lost their name."""
        return [
            entry
            for file in self.files
            if isinstance(file, MemoryFile) or not file.is_linked()
            for entry in file.values()
        ]

    def put(self, entry: Entry) -> None:
        """Take over what was counted elsewhere."""
        key, value, timestamp = entry
        cells, at = self.add(key)
        if self._kind.startswith("gauge"):
            cells[at], cells[at + 1] = value, timestamp
        else:
            cells[at] += value

    def close(self) -> None:
        """Give the descriptors back; what was counted stays in the files."""
        for file in self.files:
            if not isinstance(file, MemoryFile):
                with contextlib.suppress(OSError):
                    file.close()

    def _lengthen(self) -> None:
        tried = any(
            not isinstance(file, MemoryFile) and self._is_spill(file) for file in self.files
        )
        spill = self._place.spill(self._kind) if self._place and not tried else None
        self.files.append(spill or MemoryFile())

    def _is_spill(self, file: CellFile | TallyFile | MemoryFile) -> bool:
        if self._place is None or isinstance(file, MemoryFile):
            return False
        return file.path.parent != self._place.directory
