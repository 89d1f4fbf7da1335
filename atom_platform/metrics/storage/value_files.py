"""
The writing side of one metrics file, and the same in the memory of the process.

Room is allocated before it is mapped: a full file system is then an OSError at a moment that can
take one, not a SIGBUS in the middle of an addition. A growing file is mapped once more and the old
map stays: both show the same pages, so that cells handed out before stay good.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from pathlib import Path
from typing import Any, Final

from atom_platform.metrics.storage.client_format import (
    FIRST_ENTRY,
    CorruptFileError,
    encode_entry,
    parse_key,
    read_entries,
)

__all__ = ["INITIAL_BYTES", "Cell", "MemoryValues", "ValueFile", "WritableFile", "step_bytes"]

#: A table of doubles and the position in it; a gauge's timestamp is the next position.
Cell = tuple[Any, int]

INITIAL_BYTES: Final = 16 * 1024
_LARGEST_STEP_BYTES: Final = 1024 * 1024
_INT: Final = struct.Struct("i")


def _allocated(path: Path, head: bytes) -> int:
    """
    Return a descriptor of *path*: as it is, or made with *head* and room behind it.

    It is made under another name until complete: no reader meets half of it.

    Raises:
        OSError: There is no room, or no right.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, flags)
    made = path.with_name(f".new-{path.name}")
    fd = os.open(made, flags | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.posix_fallocate(fd, 0, INITIAL_BYTES)
        os.pwrite(fd, head, 0)
        made.rename(path)
    except BaseException:
        os.close(fd)
        made.unlink(missing_ok=True)
        raise
    return fd


def step_bytes(size: int) -> int:
    """Return by how much a file of *size* bytes is to grow."""
    return min(size, _LARGEST_STEP_BYTES)


class WritableFile:
    """
    A file that one process maps and writes: what all formats have in common.

    `_open` reads what the file holds, and keeps in `_size` how much of it is mapped.

    Args:
        path: Created if missing.
        head: What a new file begins with.

    Raises:
        CorruptFileError: The file holds something else.
        OSError: There is no room, or no right.
    """

    _size: int

    def __init__(self, path: Path, head: bytes) -> None:
        self.path = path
        self._maps: list[mmap.mmap] = []
        self._fd = _allocated(path, head)
        try:
            self._open()
        except BaseException:
            os.close(self._fd)
            raise

    def _open(self) -> None:
        raise NotImplementedError

    def is_linked(self) -> bool:
        """Return whether the file can still be found by others, in its full length."""
        try:
            status = os.fstat(self._fd)
        except OSError:
            return False
        return status.st_nlink > 0 and status.st_size >= self._size

    def is_whole(self) -> bool:
        """Return whether what is mapped is there: to touch what was cut off would be a SIGBUS."""
        return os.fstat(self._fd).st_size >= self._size

    def close(self) -> None:
        """Give the descriptor back; cells that were handed out keep their map alive."""
        os.close(self._fd)


class ValueFile(WritableFile):
    """
    One file of prometheus_client's format, written by the one process that holds its slot.

    Args:
        path: Created if missing.

    Raises:
        CorruptFileError: The file holds something else.
        OSError: There is no room, or no right.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _INT.pack(FIRST_ENTRY))

    def _open(self) -> None:
        size = os.fstat(self._fd).st_size
        if size < FIRST_ENTRY:
            raise CorruptFileError(f"{size} bytes")
        # A file of another writer may have holes, which are a SIGBUS when the file system is full.
        os.posix_fallocate(self._fd, 0, max(size, mmap.PAGESIZE))
        self._map()
        (self._used,) = _INT.unpack_from(self._maps[-1], 0)
        if self._used == 0:  # prometheus_client's, between its creation and its first value
            self._used = FIRST_ENTRY
            self._publish()
        self.entries: dict[bytes, int] = {}
        for key, position in read_entries(self._maps[-1], FIRST_ENTRY, self._used):
            parse_key(key)  # what the scrape would refuse, nobody should count into
            self.entries[key] = position

    def find(self, key: bytes) -> Cell | None:
        """Return the cell of *key*, or None if there is none yet."""
        position = self.entries.get(key)
        return None if position is None else (self._cells, position)

    def all_keys(self) -> list[bytes]:
        """Return every key."""
        return list(self.entries)

    def add(self, key: bytes) -> Cell:
        """
        Return the cell of *key*, made with value 0 if there is none.

        Raises:
            OSError: There is no room.
        """
        position = self.entries.get(key)
        if position is None:
            entry, offset = encode_entry(key)
            end = self._used + len(entry)
            if end > self._size:
                self._grow(end)
            self._maps[-1][self._used : end] = entry
            position = (self._used + offset) // 8
            # Published last: a reader never sees a length without its entry.
            self._used = end
            self._publish()
            self.entries[key] = position
        return self._cells, position

    def values(self) -> list[tuple[bytes, float, float]]:
        """Return key, value and timestamp of each entry, or nothing if the file was cut."""
        cells = self._cells
        if not self.is_whole():
            return []
        return [
            (key, cells[position], cells[position + 1]) for key, position in self.entries.items()
        ]

    def _grow(self, least: int) -> None:
        size = -(-max(self._size + step_bytes(self._size), least) // mmap.PAGESIZE) * mmap.PAGESIZE
        os.posix_fallocate(self._fd, 0, size)
        self._map()

    def _map(self) -> None:
        # Down to whole cells: a foreign file may end in the middle of one.
        self._size = os.fstat(self._fd).st_size // 8 * 8
        mapped = mmap.mmap(self._fd, self._size)
        self._maps.append(mapped)
        self._cells = memoryview(mapped).cast("d")

    def _publish(self) -> None:
        # One assignment: struct.pack_into would show readers a zero first.
        self._maps[-1][0:4] = _INT.pack(self._used)


class MemoryValues:
    """The same table in the process's own memory: no directory, or no room in it."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Cell] = {}
        self._free = memoryview(bytearray(0)).cast("d")
        self._next = 0

    def find(self, key: bytes) -> Cell | None:
        """Return the cell of *key*, or None if there is none yet."""
        return self.entries.get(key)

    def all_keys(self) -> list[bytes]:
        """Return every key."""
        return list(self.entries)

    def add(self, key: bytes) -> Cell:
        """Return the cell of *key*, made with value 0 if there is none."""
        cell = self.entries.get(key)
        if cell is None:
            if self._next >= len(self._free):
                # A further block, not a longer one: cells handed out must stay where they are.
                self._free, self._next = memoryview(bytearray(4096)).cast("d"), 0
            cell = self.entries[key] = self._free, self._next
            self._next += 2
        return cell

    def values(self) -> list[tuple[bytes, float, float]]:
        """Return key, value and timestamp of each entry."""
        return [(key, cells[at], cells[at + 1]) for key, (cells, at) in list(self.entries.items())]
