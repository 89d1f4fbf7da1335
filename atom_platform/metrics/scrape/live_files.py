"""
Which files of a metrics directory a scrape reads, and in which order.

A live gauge (`gauge_live…`) counts only while its writer runs: `list_live_files` leaves the files
of dead workers out. Counters and histograms of a dead worker remain.

A file may be deleted while the service runs. Its writer notices within a second, and writes a new
file with the same values. Until then the scrape reads the map that it still has. The file of a slot
that no process holds is written again by the scrape, because no other process would do it.
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

#: The number of parsed names that are cached between scrapes.
_REMEMBERED: Final = 4096


def list_live_files(
    directory: Path, slot_files: SlotFiles | None, *, alive: Callable[[str], bool]
) -> list[tuple[Path, FileName]]:
    """
    Return path and name of each file to read: live gauges only of processes that run.

    Args:
        slot_files: The slot of this process, for the locks that tell which slots are held.
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
    Return the sort key of a file.

    Floats that are summed in another order may give a slightly smaller sum. Prometheus would take
    such a counter for one that was restarted. So files are always summed in the same order.
    """
    number = name.slot if name.slot is not None else -1
    return name.kind, name.slot is None, number, name.writer, str(path.parent)


def is_writer_alive(writer: str) -> bool:
    """Return whether the process that put *writer* into the names of its files is running."""
    if not (writer.isascii() and writer.isdigit()):
        return True  # not a pid but another identifier that a library chose
    try:
        os.kill(int(writer), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _is_live(name: FileName, slot_files: SlotFiles | None, alive: Callable[[str], bool]) -> bool:
    """Return whether a file counts: all do, except the live gauges of dead writers."""
    if not name.is_live_gauge:
        return True
    if name.slot is None:
        return alive(name.writer)
    # A holder that is marked live has deleted the file of the previous holder. Files are opened by
    # name after this check, so the file that is then found is the holder's own.
    return slot_files is not None and (
        name.slot == slot_files.slot or slot_files.slots.live_holder(name.slot) is not None
    )


def survives_deletion(reader: ValueFileReader | ColumnarReader) -> bool:
    """Return whether the values of a file count even after it was deleted."""
    return reader.name.slot is not None and not reader.name.is_live_gauge


def restore_deleted_file(reader: ValueFileReader | ColumnarReader, storage: Storage) -> None:
    """Write a deleted file again if no process holds its slot and no other process did so."""
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
