"""
A page of memory that the arbiter and all its workers share.

A worker has three numbers, which nothing else ties together:

* its *pid*, from the kernel; pids repeat in containers, so nothing durable is named by one;
* its *worker index*, its row on this scoreboard: the arbiter assigns it before the fork
  (`worker.atom_index`) and releases it when the process has been reaped. It lives in memory only;
* its *slot*, the number in the names of its metric files: each process takes the first free one by
  a record lock (`metrics/storage/slots.py`). The arbiter has a slot too, and no worker index.

The page is mapped when this module is first imported, which gunicorn's configuration does before
any fork, and it stays the same through SIGHUP. A re-executed arbiter (SIGUSR2) maps its own.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable
from typing import Final

__all__ = ["SCOREBOARD", "Scoreboard", "is_draining", "start_draining"]

#: Twice the most workers that the settings allow: at a reload old and new ones overlap.
MAX_WORKERS: Final = 2048
HEADER_BYTES: Final = 64


class Scoreboard:
    """
    One row for each worker. What one process writes, the others read at once, without a lock.

    Every cell has one writer and is one byte or one aligned double, so no value is ever torn.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        memory = memoryview(mmap.mmap(-1, HEADER_BYTES + MAX_WORKERS * (8 + 3)))
        self._clock = clock
        self._header = memory[:HEADER_BYTES]
        heartbeats, flags = HEADER_BYTES, HEADER_BYTES + MAX_WORKERS * 8
        self._heartbeats = memory[heartbeats:flags].cast("d")
        self._assigned = memory[flags : flags + MAX_WORKERS]
        self._has_free_thread = memory[flags + MAX_WORKERS : flags + MAX_WORKERS * 2]
        self._exit_codes = memory[flags + MAX_WORKERS * 2 :]

    @property
    def draining(self) -> bool:
        """Whether the whole service drains; the arbiter sets it."""
        return self._header[0] == 1

    @draining.setter
    def draining(self, value: bool) -> None:
        self._header[0] = value

    def assign_index(self) -> int | None:
        """Return a worker index that is now in use, or None when all are."""
        for index in range(MAX_WORKERS):
            if not self._assigned[index]:
                self._assigned[index] = 1
                self._has_free_thread[index] = self._exit_codes[index] = 0
                self._heartbeats[index] = 0.0
                return index
        return None

    def release_index(self, index: int | None) -> None:
        """Make *index* free again; only once its worker's process has been reaped."""
        if index is not None:
            self._has_free_thread[index] = 0
            self._assigned[index] = 0

    def set_free_thread(self, index: int, free: bool) -> None:
        """Publish whether the worker has a free request thread."""
        self._has_free_thread[index] = free

    def heartbeat(self, index: int) -> None:
        """Publish that the worker's accept loop runs."""
        self._heartbeats[index] = self._clock()

    def serves(self, index: int) -> bool:
        """Return whether the worker has loaded the application."""
        return self._heartbeats[index] > 0

    def others_with_free_thread(self, index: int) -> list[int]:
        """Return the indexes, without *index*, of workers with a free request thread."""
        mask = bytes(self._has_free_thread)
        found = []
        at = mask.find(1)
        while at >= 0:
            if at != index:
                found.append(at)
            at = mask.find(1, at + 1)
        return found

    def heartbeat_since(self, indexes: list[int], moment: float) -> bool:
        """Return whether one of the workers has run its accept loop since *moment* (monotonic)."""
        return any(self._heartbeats[index] >= moment for index in indexes)

    def set_exit_code(self, index: int, code: int) -> None:
        """Publish why the worker is about to end, as a code of `worker_exits`."""
        self._exit_codes[index] = code

    def exit_code(self, index: int | None) -> int:
        """Return the code that the worker set; 0 when it set none."""
        return 0 if index is None else self._exit_codes[index]


SCOREBOARD: Final = Scoreboard()


def is_draining() -> bool:
    """Return whether the service drains; costs one read of memory."""
    return SCOREBOARD.draining


def start_draining() -> None:
    """Mark the service as draining, in every worker at once."""
    SCOREBOARD.draining = True
