"""
Files that a process counts into, and the same table in memory.

Space is allocated before it is mapped. A full file system is then an OSError when a cell is
created, and never a SIGBUS when a cell is changed. When a file grows it is mapped again and the
old map stays: both show the same pages, so the cells that were returned earlier remain valid.
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

#: A table of doubles and a position in it. The next position is the timestamp of a gauge.
Cell = tuple[Any, int]

INITIAL_BYTES: Final = 16 * 1024
_LARGEST_STEP_BYTES: Final = 1024 * 1024
_INT: Final = struct.Struct("i")


def _allocated(path: Path, head: bytes) -> int:
    """
    Open *path*, and return its descriptor. A new file begins with *head*, and has space behind it.

    It is created under another name and then renamed, so that no reader sees half of it.

    Raises:
        OSError: The disk is full, or permission is missing.
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
    """Return by how many bytes a file of *size* bytes grows."""
    return min(size, _LARGEST_STEP_BYTES)


class WritableFile:
    """
    A metrics file that this process maps and writes; the base of both formats.

    `_open` reads the existing entries, and sets `_size` to the number of bytes that are mapped.

    Args:
        path: Created if missing.
        head: The first bytes of a new file.

    Raises:
        CorruptFileError: The file violates its format.
        OSError: The disk is full, or permission is missing.
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
        """Return whether the file still has a name, and was not truncated."""
        try:
            status = os.fstat(self._fd)
        except OSError:
            return False
        return status.st_nlink > 0 and status.st_size >= self._size

    def is_whole(self) -> bool:
        """Return whether the file was not truncated: to use a lost page would be a SIGBUS."""
        return os.fstat(self._fd).st_size >= self._size

    def close(self) -> None:
        """Close the descriptor. Cells that were returned keep their map alive."""
        os.close(self._fd)


class ValueFile(WritableFile):
    """
    A file of prometheus_client's format. Only the process that holds its slot writes it.

    Args:
        path: Created if missing.

    Raises:
        CorruptFileError: The file violates its format.
        OSError: The disk is full, or permission is missing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _INT.pack(FIRST_ENTRY))

    def _open(self) -> None:
        size = os.fstat(self._fd).st_size
        if size < FIRST_ENTRY:
            raise CorruptFileError(f"{size} bytes")
        # Another writer's file may have holes: a SIGBUS when the file system is full.
        os.posix_fallocate(self._fd, 0, max(size, mmap.PAGESIZE))
        self._map()
        (self._used,) = _INT.unpack_from(self._maps[-1], 0)
        if self._used == 0:  # created by prometheus_client, which has not written yet
            self._used = FIRST_ENTRY
            self._publish()
        self.entries: dict[bytes, int] = {}
        for key, position in read_entries(self._maps[-1], FIRST_ENTRY, self._used):
            parse_key(key)  # a scrape would skip this file: set it aside now
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
        Return the cell of *key*, created with value 0 if there is none.

        Raises:
            OSError: The disk is full.
        """
        position = self.entries.get(key)
        if position is None:
            entry, offset = encode_entry(key)
            end = self._used + len(entry)
            if end > self._size:
                self._grow(end)
            self._maps[-1][self._used : end] = entry
            position = (self._used + offset) // 8
            # Published last: a reader must not see a length without its entry.
            self._used = end
            self._publish()
            self.entries[key] = position
        return self._cells, position

    def values(self) -> list[tuple[bytes, float, float]]:
        """Return key, value and timestamp of each entry, or nothing if it was truncated."""
        cells = self._cells
        if not self.is_whole():
            return []
        return [
            (key, cells[position], cells[position + 1]) for key, position in self.entries.items()
        ]

    def _grow(self, least: int) -> None:
        """Allocate and map at least *least* bytes."""
        size = -(-max(self._size + step_bytes(self._size), least) // mmap.PAGESIZE) * mmap.PAGESIZE
        os.posix_fallocate(self._fd, 0, size)
        self._map()

    def _map(self) -> None:
        # Rounded down to whole cells: another writer's file may end within one.
        self._size = os.fstat(self._fd).st_size // 8 * 8
        mapped = mmap.mmap(self._fd, self._size)
        self._maps.append(mapped)
        self._cells = memoryview(mapped).cast("d")

    def _publish(self) -> None:
        """Write how many bytes are used, so that readers see the new entry."""
        # One assignment: struct.pack_into would show readers a zero first.
        self._maps[-1][0:4] = _INT.pack(self._used)


class MemoryValues:
    """The same table in memory, for a process without a directory or with a full disk."""

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
        """Return the cell of *key*, created with value 0 if there is none."""
        cell = self.entries.get(key)
        if cell is None:
            if self._next >= len(self._free):
                # A further block, not a longer one: returned cells must stay where they are.
                self._free, self._next = memoryview(bytearray(4096)).cast("d"), 0
            cell = self.entries[key] = self._free, self._next
            self._next += 2
        return cell

    def values(self) -> list[tuple[bytes, float, float]]:
        """Return key, value and timestamp of each entry."""
        return [(key, cells[at], cells[at + 1]) for key, (cells, at) in list(self.entries.items())]
