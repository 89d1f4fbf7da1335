"""
Which files of a metrics directory count at this moment, and in which order.

Files that lost their name while the service runs: somebody deleted the directory, or files in it.

Their holders notice within a second and count on in new ones, with all they had. Until then the
scrape goes on reading what it has mapped. Those of slots without a holder would be nobody's to make
again; so the scrape does that.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from atom_platform.metrics.storage.client_format import (
    CorruptFileError,
    FileName,
    ValueFileReader,
    parse_name,
)
from atom_platform.metrics.storage.columnar_files import ColumnarFile, ColumnarReader
from atom_platform.metrics.storage.directory_lock import spill_directory
from atom_platform.metrics.storage.slot_files import SlotFiles
from atom_platform.metrics.storage.storage import Storage
from atom_platform.metrics.storage.value_files import ValueFile

__all__ = [
    "is_writer_alive",
    "list_live_files",
    "reading_order",
    "restore_deleted_file",
    "survives_deletion",
]

#: Names that are remembered: a scrape mostly finds those of the last one.
_REMEMBERED: Final = 4096


def list_live_files(
    directory: Path, slot_files: SlotFiles | None, *, alive: Callable[[str], bool]
) -> list[tuple[Path, FileName]]:
    """
    Return path and name of each file whose numbers describe something.

    Args:
        slot_files: This process's own, for the locks that say whose live gauges are alive.
        alive: Whether the process behind a plain prometheus_client file still runs.

    Raises:
        OSError: The directory cannot be listed.
    """
    found = []
    for parent in (directory, spill_directory(directory, create=False)):
        if parent is None:
            continue
        for each in os.listdir(parent):  # noqa: PTH208 — names suffice
            file = _file(parent, each)
            if file is not None and _is_live(file[1], slot_files, alive):
                found.append(file)
    return found


@functools.lru_cache(_REMEMBERED)
def _file(parent: Path, name: str) -> tuple[Path, FileName] | None:
    parsed = parse_name(name)
    return None if parsed is None else (parent / name, parsed)


@functools.lru_cache(_REMEMBERED)
def reading_order(path: Path, name: FileName) -> tuple[str, bool, int, str, str]:
    """
    Return the sorting key of a file.

    A sum of the same numbers in another order may differ in its last bit, and a counter that seems
    to go back by that much looks like a restart. In one order, it never goes back.
    """
    number = name.slot if name.slot is not None else -1
    return name.kind, name.slot is None, number, name.writer, str(path.parent)


def is_writer_alive(writer: str) -> bool:
    """Return whether the process that named its files *writer* runs."""
    if not (writer.isascii() and writer.isdigit()):
        return True  # not a pid but some other identifier that a library chose
    try:
        os.kill(int(writer), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _is_live(name: FileName, slot_files: SlotFiles | None, alive: Callable[[str], bool]) -> bool:
    if not name.is_live_gauge:
        return True
    if name.slot is None:
        return alive(name.writer)
    # Whoever is live has removed its predecessor's file by now, and files are opened by name after
    # this: what is then found under the name is the holder's own.
    return slot_files is not None and (
        name.slot == slot_files.slot or slot_files.slots.live_holder(name.slot) is not None
    )


def survives_deletion(reader: ValueFileReader | ColumnarReader) -> bool:
    """Return whether the numbers of a file count although its name is gone."""
    return reader.name.slot is not None and not reader.name.is_live_gauge


def restore_deleted_file(reader: ValueFileReader | ColumnarReader, storage: Storage) -> None:
    """Write the file of a slot without a holder again, unless somebody else just did."""
    slot_files, slot = storage.slot_files, reader.name.slot
    if (
        slot_files is None
        or slot is None
        or storage.is_slot_held(slot)
        or not slot_files.slots.is_current()
    ):
        return
    if not slot_files.slots.try_claim(slot):
        return
    try:
        with contextlib.suppress(OSError, CorruptFileError):
            if not reader.path.exists():
                file = (
                    ColumnarFile(reader.path, reader.name.kind)
                    if reader.name.is_columnar
                    else ValueFile(reader.path)
                )
                for key, value, timestamp in reader.values():
                    cells, at = file.add(key)
                    cells[at] = value
                    if not reader.name.is_columnar:
                        cells[at + 1] = timestamp
                file.close()
    finally:
        slot_files.slots.release(slot)
