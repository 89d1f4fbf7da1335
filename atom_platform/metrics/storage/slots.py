"""
Slots: which process counts into which files.

A process that counts holds a POSIX record lock on one byte of `.slots`, and names its files after
that byte. The kernel gives the byte back when the whole process is gone, whatever ended it and
however slow it was to die: so a slot never has two writers, its next holder goes on with the same
files, and nobody keeps a list. Record locks are not inherited by `fork`: a child counts apart.

The trap: closing *any* descriptor of the file in this process drops all its locks. So a process has
one descriptor of it, and closes it only to give its slot up.
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
#: A second byte of a slot says that its live gauges are its present holder's.
_LIVE: Final = 1 << 20
#: Whoever holds this byte tells that the file system is full; the others know that it is told.
_LOGS: Final = 1 << 21
#: struct flock of 64-bit Linux, padding at its end included.
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
        Take the lowest free slot but *avoided* for this process, or *preferred* if that is free.

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
        Say that the live gauges of *slot*, which this process holds, are its own from now on.

        Raises:
            OSError: The file system refuses locks.
        """
        fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _LIVE + slot)

    def holder(self, slot: int) -> int | None:
        """Return the pid of the *other* process that holds *slot* (0: not visible from here)."""
        return self._locked_by(slot)

    def live_holder(self, slot: int) -> int | None:
        """Likewise, of the other process whose live gauges are in *slot*."""
        return self._locked_by(_LIVE + slot)

    def try_claim(self, slot: int) -> bool:
        """Take *slot* for this process and return True, if nobody has it."""
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except OSError:
            return False
        return True

    def claim_logging(self) -> bool:
        """Return whether it is for this process to log what concerns the directory as a whole."""
        return self.try_claim(_LOGS)

    def release(self, slot: int) -> None:
        """Let others have *slot*."""
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, slot)

    def release_all(self) -> None:
        """Hold nothing any more, but go on seeing who does."""
        fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def has_other_holders(self) -> bool:
        """Return whether any other process holds anything."""
        return self._locked_by(0, length=0) is not None

    def close(self) -> None:
        """Give the slot back: in a forked child, which has none yet, or to move elsewhere."""
        os.close(self._fd)

    def is_current(self) -> bool:
        """Return whether the name still leads to this file, rather than nowhere or to a new one."""
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
