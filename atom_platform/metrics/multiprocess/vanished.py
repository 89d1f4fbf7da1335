"""
Files that lost their name while the service runs: somebody deleted the directory, or files in it.

Their holders notice within a second and count on in new ones, with all they had. Until then the
scrape goes on reading what it has mapped. Those of slots without a holder would be nobody's to make
again; so the scrape does that.
"""

from __future__ import annotations

import contextlib

from atom_platform.metrics.multiprocess.files import CellFile
from atom_platform.metrics.multiprocess.format import CorruptFileError
from atom_platform.metrics.multiprocess.reader import FileReader
from atom_platform.metrics.multiprocess.storage import Storage
from atom_platform.metrics.multiprocess.tally_file import TallyFile
from atom_platform.metrics.multiprocess.tally_reader import TallyReader

__all__ = ["outlives_its_name", "restore"]


def outlives_its_name(reader: FileReader | TallyReader) -> bool:
    """Return whether the numbers of a file count although its name is gone."""
    return reader.name.slot is not None and not reader.name.is_live_gauge


def restore(reader: FileReader | TallyReader, storage: Storage) -> None:
    """Write the file of a slot without a holder again, unless somebody else just did."""
    place, slot = storage.place, reader.name.slot
    if place is None or slot is None or storage.holds(slot) or not place.slots.is_current():
        return
    if not place.slots.try_claim(slot):
        return
    try:
        with contextlib.suppress(OSError, CorruptFileError):
            if not reader.path.exists():
                file = (
                    TallyFile(reader.path, reader.name.kind)
                    if reader.name.is_tally
                    else CellFile(reader.path)
                )
                for key, value, timestamp in reader.values():
                    cells, at = file.add(key)
                    cells[at] = value
                    if not reader.name.is_tally:
                        cells[at + 1] = timestamp
                file.close()
    finally:
        place.slots.give_back(slot)
