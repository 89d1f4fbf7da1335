"""
Slots: which process counts into which files.

A process that counts holds a POSIX record lock on one byte of `.slots`, and names its files after
the number of that byte, its slot. The kernel releases the lock when the process ends, for whatever
reason. So a slot never has two writers, the next holder continues the same files, and no list is
kept. A fork does not inherit record locks: a child process takes a slot of its own.

`server/scoreboard.py` says how process id, worker index and slot relate.

The trap: closing *any* descriptor of the file in this process releases all of its locks. So a
process has one descriptor of it, and closes it only to give up its slot.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import struct
from pathlib import Path
from typing import Final

__all__ = ["SlotFile"]

_NAME: Final = ".slots"
#: Offset of a slot's second byte. It is locked once the slot's live gauges are its holder's own.
_LIVE: Final = 1 << 20
#: The holder of this byte logs problems of the whole directory, so that each is logged once.
_LOGS: Final = 1 << 21
#: `struct flock` of 64-bit Linux with the padding at its end.
_FLOCK: Final = struct.Struct("@hhqqi4x")


class SlotFile:
    """
    The slots of one directory.

    Raises:
        OSError: The lock file cannot be opened.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / _NAME
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def claim(self, *, preferred: int = 0, avoided: int | None = None) -> int:
        """
        Take *preferred* if it is free, otherwise the lowest free slot except *avoided*.

        Raises:
            OSError: The file system refuses locks.
        """
        for slot in itertools.chain((preferred,), range(_LIVE)):
            if slot == avoided:
                continue
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise
            else:
                return slot
        raise OSError(errno.ENOLCK, "no slot left", str(self.path))

    def mark_live(self, slot: int) -> None:
        """
        Mark the live gauges of *slot*, which this process holds, as its own.

        Raises:
            OSError: The file system refuses locks.
        """
        fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _LIVE + slot)

    def holder(self, slot: int) -> int | None:
        """Return the pid of the *other* process that holds *slot* (0: in another pid namespace)."""
        return self._locked_by(slot)

    def live_holder(self, slot: int) -> int | None:
        """Return the pid of the *other* process whose live gauges are in *slot* (0: as above)."""
        return self._locked_by(_LIVE + slot)

    def try_claim(self, slot: int) -> bool:
        """Take *slot* for this process. Return False if another process holds it."""
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except OSError:
            return False
        return True

    def claim_logging(self) -> bool:
        """Return whether this process is the one that logs problems of the whole directory."""
        return self.try_claim(_LOGS)

    def release(self, slot: int) -> None:
        """Release *slot*, so that another process can take it."""
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, slot)

    def release_all(self) -> None:
        """Release all locks, but keep the file open to see the locks of other processes."""
        fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def has_other_holders(self) -> bool:
        """Return whether any other process holds a lock of the file."""
        return self._locked_by(0, length=0) is not None

    def close(self) -> None:
        """Close the file, which releases all locks of this process, but not those of a parent."""
        os.close(self._fd)

    def is_current(self) -> bool:
        """Return whether the path still leads to this file: it was neither deleted nor replaced."""
        try:
            named, opened = self.path.stat(), os.fstat(self._fd)
        except OSError:
            return False
        return (named.st_ino, named.st_dev) == (opened.st_ino, opened.st_dev)

    def _locked_by(self, byte: int, *, length: int = 1) -> int | None:
        question = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, length, 0)
        try:
            answer = fcntl.fcntl(self._fd, fcntl.F_GETLK, question)
        except OSError:
            return None
        kind, _, _, _, pid = _FLOCK.unpack(answer)
        return None if kind == fcntl.F_UNLCK else int(pid)
