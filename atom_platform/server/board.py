"""
A page of memory that the arbiter and all its workers share.

It is mapped when this module is first imported, which gunicorn's configuration does before any
fork, and it stays the same through SIGHUP. A re-executed arbiter (SIGUSR2) has one of its own. Each
worker sits at a numbered seat; the arbiter hands seats out before the fork and takes them back once
the worker's process has been reaped, so that no seat ever has two writers.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable
from typing import Final

__all__ = ["BOARD", "Board"]

#: Twice the most workers that the settings allow: at a reload old and new ones overlap.
SEATS: Final = 2048
HEADER_BYTES: Final = 64


class Board:
    """
    What is written here by one process is seen by the others at once, without a lock.

    Every cell has one writer and is one byte, or one aligned double: nothing can be torn.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        memory = memoryview(mmap.mmap(-1, HEADER_BYTES + SEATS * (8 + 3)))
        self._clock = clock
        self._header = memory[:HEADER_BYTES]
        beats, flags = HEADER_BYTES, HEADER_BYTES + SEATS * 8
        self._beats = memory[beats:flags].cast("d")
        self._taken = memory[flags : flags + SEATS]
        self._free = memory[flags + SEATS : flags + SEATS * 2]
        self._farewells = memory[flags + SEATS * 2 :]

    @property
    def draining(self) -> bool:
        return self._header[0] == 1

    @draining.setter
    def draining(self, value: bool) -> None:
        self._header[0] = value

    def take_seat(self) -> int | None:
        """Return the number of a seat that is now taken, or None when there is none left."""
        for seat in range(SEATS):
            if not self._taken[seat]:
                self._taken[seat] = 1
                self._free[seat] = self._farewells[seat] = 0
                self._beats[seat] = 0.0
                return seat
        return None

    def leave_seat(self, seat: int | None) -> None:
        """Give *seat* to whoever comes next; only once its process is gone."""
        if seat is not None:
            self._free[seat] = 0
            self._taken[seat] = 0

    def say_free(self, seat: int, free: bool) -> None:
        """Tell the siblings whether the worker at *seat* has a thread to spare."""
        self._free[seat] = free

    def beat(self, seat: int) -> None:
        """Tell the siblings that the accept loop of the worker at *seat* is running."""
        self._beats[seat] = self._clock()

    def serves(self, seat: int) -> bool:
        """Return whether the worker at *seat* has loaded the application."""
        return self._beats[seat] > 0

    def others_free(self, seat: int) -> list[int]:
        """Return the seats, other than *seat*, of workers with a thread to spare."""
        mask = bytes(self._free)
        found = []
        at = mask.find(1)
        while at >= 0:
            if at != seat:
                found.append(at)
            at = mask.find(1, at + 1)
        return found

    def beaten_since(self, seats: list[int], moment: float) -> bool:
        """Return whether one of *seats* has run its accept loop since *moment* (monotonic)."""
        return any(self._beats[seat] >= moment for seat in seats)

    def say_farewell(self, seat: int, code: int) -> None:
        """Leave word of why the worker at *seat* is about to end; see `exits`."""
        self._farewells[seat] = code

    def farewell(self, seat: int | None) -> int:
        """Return the word that the worker at *seat* left, 0 when it left none."""
        return 0 if seat is None else self._farewells[seat]


BOARD: Final = Board()
