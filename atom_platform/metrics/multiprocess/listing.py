"""Which files of a metrics directory count at this moment, and in which order."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from atom_platform.metrics.multiprocess.ownership import spill_directory
from atom_platform.metrics.multiprocess.place import Place
from atom_platform.metrics.multiprocess.reader import FileName, parse_name

__all__ = ["counting_files", "is_alive", "reading_order"]

#: Names that are remembered: a scrape mostly finds those of the last one.
_REMEMBERED: Final = 4096


def counting_files(
    directory: Path, place: Place | None, *, alive: Callable[[str], bool]
) -> list[tuple[Path, FileName]]:
    """
    Return path and name of each file whose numbers describe something.

    Args:
        place: This process's own, for the locks that say whose live gauges are alive.
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
            if file is not None and _counts(file[1], place, alive):
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


def is_alive(writer: str) -> bool:
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


def _counts(name: FileName, place: Place | None, alive: Callable[[str], bool]) -> bool:
    if not name.is_live_gauge:
        return True
    if name.slot is None:
        return alive(name.writer)
    # Whoever is live has removed its predecessor's file by now, and files are opened by name after
    # this: what is then found under the name is the holder's own.
    return place is not None and (
        name.slot == place.slot or place.slots.live_holder(name.slot) is not None
    )
