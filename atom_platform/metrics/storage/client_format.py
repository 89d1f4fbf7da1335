"""
The file format of prometheus_client: names, keys and entries, with every field validated.

    int32 used | 4 bytes | entries …      an entry: int32 length | key, padded | value | timestamp

Entries are only appended, and never move. The offset of each value is a multiple of 8, so a file
mapped as doubles is a table of cells. A key is JSON: `[family, sample, {label: value}, help]`.

A `ValueFileReader` remembers the entries of one file. To read it again costs a look at its first
bytes and at the values. Nothing in a file is trusted: it may be truncated, corrupt or half written.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

__all__ = [
    "FIRST_ENTRY",
    "CorruptFileError",
    "FileName",
    "Key",
    "ReadableFile",
    "ValueFileReader",
    "encode_entry",
    "parse_key",
    "parse_name",
    "read_entries",
]

FIRST_ENTRY: Final = 8
_INT: Final = struct.Struct("i")


class CorruptFileError(Exception):
    """A metrics file violates its format."""


class Key(NamedTuple):
    """
    The parsed key of one cell.

    Attributes:
        family: The metric's name, without `_total`.
        sample: The name of the sample, such as `http_requests_total`.
        labels: Sorted by name.
        help: The family's help text.
    """

    family: str
    sample: str
    labels: tuple[tuple[str, str], ...]
    help: str


def encode_entry(key: bytes) -> tuple[bytes, int]:
    """Return a new entry for *key* with value 0, and the offset of the value within it."""
    padded = len(key) + 8 - (len(key) + 4) % 8
    return _INT.pack(len(key)) + key.ljust(padded) + bytes(16), 4 + padded


def read_entries(data: bytes | mmap.mmap, start: int, used: int) -> list[tuple[bytes, int]]:
    """
    Return key and cell number of each entry of *data* from *start* up to *used*.

    Raises:
        CorruptFileError: The entries do not end where *used* says.
    """
    entries = []
    size, position, length_at = len(data), start, _INT.unpack_from
    if not FIRST_ENTRY <= start <= used <= size or used % 8:
        raise CorruptFileError(f"{used} of {size} bytes used")
    while position < used:
        (length,) = length_at(data, position)
        value = position + length + 12 - (length + 4) % 8
        if length < 2 or value + 16 > used:
            raise CorruptFileError(f"a key of {length} bytes at {position}")
        entries.append((data[position + 4 : position + 4 + length], value >> 3))
        position = value + 16
    return entries


def parse_key(key: bytes) -> Key:
    """
    Return the parsed *key*. Characters that UTF-8 cannot encode are replaced.

    Raises:
        CorruptFileError: It is not a valid key.
    """
    try:
        family, sample, labels, help_text = json.loads(key.decode())
        "".join((family, sample, help_text, *labels, *labels.values()))  # fails unless all are text
        items = tuple(sorted(labels.items()))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptFileError("an invalid key") from error
    if b"\\u" in key:
        # JSON can escape half a surrogate pair, which would make every exposition fail.
        items = tuple((_clean(name), _clean(value)) for name, value in items)
        family, sample, help_text = map(_clean, (family, sample, help_text))
    return Key(family, sample, items, help_text)


def _clean(text: str) -> str:
    return text.encode(errors="replace").decode()


#: NONBLOCK, because opening a named pipe would otherwise wait for a writer.
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MODES: Final = ("all", "min", "max", "sum", "mostrecent")
_SUMMED: Final = frozenset(["counter", "histogram", "summary"])
_GAUGES: Final = frozenset(f"gauge_{live}{mode}" for live in ("", "live") for mode in _MODES)
_KINDS_BY_SUFFIX: Final = {
    "db": _SUMMED | _GAUGES,
    "columnar": _SUMMED,
    "exemplars": frozenset(["exemplars"]),
}


class FileName:
    """
    The parsed name of a metrics file.

    Attributes:
        kind: `counter`, `histogram`, `summary`, `exemplars`, or `gauge_` and a mode.
        writer: `slot` and a number, or the pid of a process that uses plain prometheus_client.
        slot: That number; None for a process that uses plain prometheus_client.
        is_columnar: Whether the file has the columnar format and not prometheus_client's.
    """

    __slots__ = ("is_columnar", "kind", "name", "slot", "writer")

    def __init__(self, name: str, kind: str, writer: str) -> None:
        self.name, self.kind, self.writer = name, kind, writer
        self.is_columnar = name.endswith(".columnar")
        number = writer.removeprefix("slot")
        ours = number != writer and number.isascii() and number.isdigit()
        self.slot = int(number) if ours else None

    @property
    def is_live_gauge(self) -> bool:
        """Whether the values count only while their writer is alive."""
        return self.kind.startswith("gauge_live")


def parse_name(name: str) -> FileName | None:
    """Return the parsed *name*, or None if it is not the name of a metrics file."""
    stem, _, suffix = name.rpartition(".")
    kind, _, writer = stem.rpartition("_")
    if not writer or kind not in _KINDS_BY_SUFFIX.get(suffix, ()):
        return None
    return FileName(name, kind, writer)


class ReadableFile:
    """
    A metrics file that is mapped for reading, whichever process writes it.

    Attributes:
        cells: The whole file as doubles.

    Raises:
        OSError: It cannot be opened.
        CorruptFileError: It is not a metrics file.
    """

    def __init__(self, path: Path, name: FileName) -> None:
        self.path = path
        self.name = name
        fd = os.open(path, _FLAGS)
        try:
            status = os.fstat(fd)
            self.file_id = status.st_dev, status.st_ino
            if status.st_size < FIRST_ENTRY:
                raise CorruptFileError(f"{status.st_size} bytes")
            # The map duplicates the descriptor.
            self._map = mmap.mmap(fd, status.st_size // 8 * 8, access=mmap.ACCESS_READ)
        finally:
            os.close(fd)
        self.cells = memoryview(self._map).cast("d")

    def is_same_file(self) -> bool:
        """
        Return whether the path still leads to this file, and not to a new one.

        Raises:
            OSError: The path does not exist.
        """
        status = self.path.stat()
        return (status.st_dev, status.st_ino) == self.file_id

    def size(self) -> int:
        """
        Return the present size of the file in bytes.

        Raises:
            CorruptFileError: The file was truncated. To read its map would be a SIGBUS.
        """
        size = self._map.size() // 8 * 8
        if size < len(self._map):
            raise CorruptFileError(f"truncated to {size} bytes")
        return size

    def _remap(self, size: int) -> None:
        """Map the file again, now that it has grown to *size* bytes."""
        fd = os.open(self.path, _FLAGS)
        try:
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) != self.file_id:
                raise CorruptFileError("replaced by another file")
            self._map = mmap.mmap(fd, size, access=mmap.ACCESS_READ)
        finally:
            os.close(fd)
        self.cells = memoryview(self._map).cast("d")


class ValueFileReader(ReadableFile):
    """Reads one file of prometheus_client's format again and again."""

    def __init__(self, path: Path, name: FileName) -> None:
        super().__init__(path, name)
        self._used = FIRST_ENTRY

    def appended(self) -> list[tuple[bytes, int]]:
        """
        Return key and position of each entry appended since the last call.

        Raises:
            OSError: The file has grown and cannot be opened again.
            CorruptFileError: The file violates its format.
        """
        size = self.size()
        (used,) = _INT.unpack_from(self._map, 0)
        if used in (self._used, 0):  # 0: prometheus_client has created it, and not written yet
            return []
        if used > len(self._map) and size > len(self._map):
            try:
                self._remap(size)
            except FileNotFoundError:
                return []  # deleted: the entries known so far are all that is left
        entries = read_entries(self._map, self._used, used)
        self._used = used
        return entries

    def rewind(self) -> None:
        """Make `appended` return all entries again, beginning with the first."""
        self._used = FIRST_ENTRY

    def values(self) -> list[tuple[bytes, float, float]]:
        """
        Return key, value and timestamp of each entry known so far.

        Raises:
            CorruptFileError: The file was truncated.
        """
        self.size()
        cells = self.cells
        entries = read_entries(self._map, FIRST_ENTRY, self._used)
        return [(key, cells[at], cells[at + 1]) for key, at in entries]
