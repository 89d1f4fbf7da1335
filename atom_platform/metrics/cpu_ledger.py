"""
The service's CPU time, as every worker has told it so far.

/proc forgets an arbiter that leaves after SIGUSR2, and with it all the workers it ever reaped. What
was told is therefore kept in the metrics directory, and the next reading goes on from there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["CpuLedger", "Reading"]

_NAME: Final = ".cpu"
_BYTES: Final = 256
#: Another worker holds it for a millisecond; one that was stopped meanwhile must not stop us.
_PATIENCE_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Reading:
    """Ticks that /proc shows for a service, and the living arbiters that they include."""

    ticks: int
    arbiters: tuple[int, ...]


class CpuLedger:
    """
    Makes a counter of readings that may go back.

    Args:
        directory: The metrics directory.
        service: The service's name for this life; what another one wrote is not its.
    """

    def __init__(self, directory: Path, service: str) -> None:
        self._path = directory / _NAME
        self._service = service

    def advance(self, read: Callable[[], Reading]) -> int:
        """
        Take a reading while nobody else does, and return the ticks to tell: never fewer than told.

        Raises:
            OSError: The ledger cannot be read or written, or not in time.
        """
        with self._locked() as fd:
            told, gone, arbiters = self._entry(os.pread(fd, _BYTES, 0))
            reading = read()
            ticks = gone + reading.ticks
            if ticks < told and reading.arbiters != arbiters:
                gone += told - ticks  # what the arbiter that left has taken along
            ticks = max(ticks, told)
            numbers = " ".join(map(str, (ticks, gone, *reading.arbiters)))
            os.pwrite(fd, f"{self._service} {numbers}\n".encode().ljust(_BYTES), 0)
        return ticks

    def _entry(self, text: bytes) -> tuple[int, int, tuple[int, ...]]:
        with contextlib.suppress(ValueError):
            service, *numbers = text.decode().split()
            told, gone, *arbiters = map(int, numbers)
            if service == self._service:
                return told, gone, tuple(arbiters)
        return 0, 0, ()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._path, flags, 0o600)
        try:
            until = time.monotonic() + _PATIENCE_SECONDS
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.001)
            yield fd
        finally:
            os.close(fd)
