"""One output that several processes write whole lines to."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import select
import time
from typing import Final

__all__ = ["LockedOutput"]

#: A pipe that is writable at all takes this much without blocking (pipe(7)).
_UNBLOCKING_BYTES: Final = 4096
_NEWLINE: Final = 0x0A


class LockedOutput:
    """
    A file descriptor, a lock on it, and the knowledge whether its last line is whole.

    Make it before forking: what the last line lacks is remembered in memory that the processes
    share.

    Args:
        fd: Used as it is, so that a `dup2` onto it takes the lines along.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        # 1 while the last line lacks its end, because its writer died or the disk was full. Whoever
        # writes next ends it first, so that one line is lost and not two.
        self._torn = mmap.mmap(-1, 1)

    def write(self, lines: bytes, deadline: float | None = None) -> int:
        """
        Write *lines* and return how much went out: all, unless the output failed.

        Without a *deadline* (on the monotonic clock) it waits for a reader for ever; with one it
        does not block past it, and may leave a line in two, which the next write ends. Never raises
        OSError.
        """
        data, position, locked = lines, 0, False
        was_torn = self._torn[0]
        try:
            # First without the lock: a reader that has stopped must not make others wait for us.
            self._wait_until_writable(deadline)
            locked = self._lock(deadline)
            was_torn = self._torn[0]
            if was_torn:
                data = b"\n" + lines
            view = memoryview(data)
            waits = deadline is not None  # we have just waited, but it must not block past that
            while position < len(data):
                if waits:
                    self._wait_until_writable(deadline)
                waits = True
                end = len(data) if deadline is None else position + _UNBLOCKING_BYTES
                self._torn[0] = 1  # for whoever comes after us, should we be killed in the call
                with contextlib.suppress(BlockingIOError):  # the descriptor may be non-blocking
                    position += os.write(self.fd, view[position:end])
        except (OSError, ValueError):
            pass  # the caller sees by the length what is missing
        finally:
            self._torn[0] = data[position - 1] != _NEWLINE if position else was_torn
            if locked:
                with contextlib.suppress(OSError):
                    fcntl.lockf(self.fd, fcntl.LOCK_UN)
        return max(0, position - (len(data) - len(lines)))

    def _lock(self, deadline: float | None) -> bool:
        """
        Lock the output against the other processes; False if it is of a kind that has no locks.

        A POSIX record lock belongs to a process and to what the descriptor leads to. So it holds
        between processes that inherited one descriptor, on a pipe too, and the kernel takes it from
        a process that dies.
        """
        blocking = 0 if deadline is None else fcntl.LOCK_NB
        while True:
            try:
                fcntl.lockf(self.fd, fcntl.LOCK_EX | blocking)
            except BlockingIOError:
                if deadline is not None and time.monotonic() >= deadline:
                    raise
                time.sleep(0.001)
            except OSError:
                return False
            else:
                return True

    def _wait_until_writable(self, deadline: float | None) -> None:
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        left_ms = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poll.poll(left_ms):
            raise TimeoutError
