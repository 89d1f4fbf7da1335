"""
A ring file: the last records of all processes of the service, in slots of one size.

A writer holds the file's lock for microseconds, and waits for it for LOCK_SECONDS at most. After
that it drops its record, because the status page must not delay a request.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from atom_platform.forking import at_fork

__all__ = ["FileRing", "MemoryRing", "Record", "Ring"]

Record = Mapping[str, Any]

SLOT_BYTES: Final = 1024
HEADER: Final = struct.Struct("<32sQ")
#: Offset of the first slot: no slot crosses a memory page.
FIRST_SLOT: Final = 1024
LOCK_SECONDS: Final = 0.02


class Ring(Protocol):
    """Keeps the last records and drops older ones."""

    def add(self, record: Record) -> None: ...
    def records(self) -> list[dict[str, Any]]:
        """Return the kept records, oldest first."""


class MemoryRing:
    """The records of this process alone."""

    def __init__(self, slots: int) -> None:
        self._kept: deque[dict[str, Any]] = deque(maxlen=slots)

    def add(self, record: Record) -> None:
        self._kept.append(dict(record))

    def records(self) -> list[dict[str, Any]]:
        return list(self._kept)


class FileRing:
    """
    The records of all processes that name the same *path* and *service*.

    Records of an earlier service are overwritten. A record longer than a slot is dropped.

    Args:
        service: The id of this start of the service, 32 bytes of ASCII at most.

    Raises:
        OSError: The file cannot be opened; from `add` and `records` too.
    """

    def __init__(self, path: Path, service: str, *, slots: int) -> None:
        self._path = path
        self._service = service.encode("ascii").ljust(32, b"\0")[:32]
        self._slots = slots
        self._lock = threading.Lock()
        self._fd: int | None = None
        self._open()
        _rings.add(self)

    def add(self, record: Record) -> None:
        body = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode(
            "utf-8", "replace"
        )
        if len(body) >= SLOT_BYTES:
            return
        with self._locked() as fd:
            if fd is None:
                return
            service, number = HEADER.unpack(_padded(os.pread(fd, HEADER.size, 0), HEADER.size))
            if service != self._service:
                number = 0
                os.ftruncate(fd, 0)
                os.posix_fallocate(fd, 0, FIRST_SLOT + self._slots * SLOT_BYTES)
            at = FIRST_SLOT + number % self._slots * SLOT_BYTES
            os.pwrite(fd, body.ljust(SLOT_BYTES, b"\n"), at)
            # Last: if the process dies before this line, its record is not counted.
            os.pwrite(fd, HEADER.pack(self._service, number + 1), 0)

    def records(self) -> list[dict[str, Any]]:
        with self._locked() as fd:
            data = b"" if fd is None else os.pread(fd, FIRST_SLOT + self._slots * SLOT_BYTES, 0)
        service, number = HEADER.unpack(_padded(data, HEADER.size))
        if service != self._service:
            return []
        found = []
        for each in range(max(0, number - self._slots), number):
            at = FIRST_SLOT + each % self._slots * SLOT_BYTES
            with contextlib.suppress(ValueError):  # its writer was killed while writing
                found.append(json.loads(data[at : at + SLOT_BYTES]))
        return found

    def forget(self) -> None:
        """
        Reset lock and descriptor in a forked process.

        A descriptor inherited from the parent shares the parent's file lock, and another thread of
        the parent may have held the thread lock during the fork.
        """
        self._lock = threading.Lock()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> int:
        if self._fd is not None and os.fstat(self._fd).st_nlink == 0:
            os.close(self._fd)  # the file was deleted
            self._fd = None
        if self._fd is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._fd = os.open(self._path, flags, 0o600)
        return self._fd

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int | None]:
        """Yield the descriptor, locked against threads and processes, or None after a timeout."""
        deadline = time.monotonic() + LOCK_SECONDS
        if not self._lock.acquire(timeout=LOCK_SECONDS):
            yield None
            return
        try:
            fd = self._open()
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        yield None
                        return
                    time.sleep(0.0005)
            try:
                yield fd
            finally:
                fcntl.flock(fd, fcntl.LOCK_UN)
        finally:
            self._lock.release()


_rings: weakref.WeakSet[FileRing] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for ring in list(_rings):
        ring.forget()


# One hook for all rings: a fork hook cannot be unregistered.
at_fork("status_ring", after_in_child=_after_fork_in_child)


def _padded(data: bytes, size: int) -> bytes:
    return data[:size].ljust(size, b"\0")
