"""
prometheus_client's own file format, read and written without its trust in what it finds.

    int32 used | 4 bytes | entries …      an entry: int32 length | key, padded | value | timestamp

Entries never move and are only appended; the value of each lies on a multiple of 8, so that a file
mapped as doubles is a table of cells. A key is JSON: `[family, sample, {label: value}, help]`.
"""

from __future__ import annotations

import json
import mmap
import struct
from typing import Final, NamedTuple

__all__ = ["FIRST_ENTRY", "CorruptFileError", "Key", "encode_entry", "parse_key", "read_entries"]

FIRST_ENTRY: Final = 8
_INT: Final = struct.Struct("i")


class CorruptFileError(Exception):
    """A metrics file does not hold what its format says."""


class Key(NamedTuple):
    """
    What one cell counts.

    Attributes:
        family: The metric's name, without `_total`.
        sample: The name of the exposed line.
        labels: Sorted by name.
        help: The family's help text.
    """

    family: str
    sample: str
    labels: tuple[tuple[str, str], ...]
    help: str


def encode_entry(key: bytes) -> tuple[bytes, int]:
    """Return a new entry for *key*, its value 0, and the offset of the value in it."""
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
    Return what *key* says, with text that cannot be written out made fit for it.

    Raises:
        CorruptFileError: It is not a key.
    """
    try:
        family, sample, labels, help_text = json.loads(key.decode())
        "".join((family, sample, help_text, *labels, *labels.values()))  # all of them are texts
        items = tuple(sorted(labels.items()))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptFileError("a key that is not a key") from error
    if b"\\u" in key:
        # Half a surrogate pair, which JSON can escape, would make every exposition fail.
        items = tuple((_clean(name), _clean(value)) for name, value in items)
        family, sample, help_text = map(_clean, (family, sample, help_text))
    return Key(family, sample, items, help_text)


def _clean(text: str) -> str:
    return text.encode(errors="replace").decode()
