"""
prometheus_client's own file format, read and written without its trust in what it finds.

    int32 used | 4 bytes | entries …      an entry: int32 length | key, padded | value | timestamp

Entries never move and are only appended; the value of each lies on a multiple of 8, so that a file
mapped as doubles is a table of cells. A key is JSON: `[family, sample, {label: value}, help]`.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["FIRST_ENTRY", "CorruptFileError", "Key", "encode_entry", "parse_key", "read_entries"]

FIRST_ENTRY: Final = 8
_INT: Final = struct.Struct("i")


class CorruptFileError(Exception):
    """A metrics file does not hold what its format says."""


@dataclass(frozen=True, slots=True)
class Key:
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


def read_entries(data: Any, start: int, used: int) -> list[tuple[bytes, int]]:
    """
    Return key and cell number of each entry of *data* from *start* up to *used*.

    Raises:
        CorruptFileError: The entries do not end where *used* says.
    """
    entries = []
    size, position = len(data), start
    if not FIRST_ENTRY <= start <= used <= size or used % 8:
        raise CorruptFileError(f"{used} of {size} bytes used")
    while position < used:
        (length,) = _INT.unpack_from(data, position)
        value = position + 4 + length + 8 - (length + 4) % 8
        if length < 2 or value + 16 > used:
            raise CorruptFileError(f"a key of {length} bytes at {position}")
        entries.append((bytes(data[position + 4 : position + 4 + length]), value // 8))
        position = value + 16
    return entries


def parse_key(key: bytes) -> Key:
    """
    Return what *key* says, with text that cannot be written out made fit for it.

    Raises:
        CorruptFileError: It is not a key.
    """
    try:
        family, sample, labels, help_text = json.loads(key)
        items = sorted(labels.items())
        texts = [family, sample, help_text, *(text for item in items for text in item)]
        if not all(isinstance(text, str) for text in texts):
            raise CorruptFileError("a key that is not made of texts")
        for text in texts:
            text.encode()  # a lone surrogate would make every exposition fail
    except UnicodeEncodeError:
        items = [(_clean(name), _clean(value)) for name, value in items]
        family, sample, help_text = map(_clean, (family, sample, help_text))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptFileError("a key that is not a key") from error
    return Key(family, sample, tuple(items), help_text)


def _clean(text: str) -> str:
    return text.encode(errors="replace").decode()
