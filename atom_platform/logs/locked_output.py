"""A file descriptor to which several processes write whole lines."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import select
import time
from typing import Final

__all__ = ["LockedOutput"]

#: A pipe that is writable at all takes this many bytes without blocking (pipe(7)).
_NON_BLOCKING_BYTES: Final = 4096
_NEWLINE: Final = 0x0A


class LockedOutput:
    """
    A file descriptor with a lock between processes, which knows whether its last line is complete.

    Create it before forking: the flag for an incomplete line is in memory that the processes share.

    Args:
        fd: The file descriptor. It is not duplicated: after a `dup2` onto it, lines go to the new
            file.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        # 1 while the last line has no newline, because its writer was killed or the disk was full.
        # The next writer ends that line first; otherwise its own line would be lost too.
        self._incomplete = mmap.mmap(-1, 1)

    def write(self, lines: bytes, deadline: float | None = None) -> int:
        """
        Write *lines* and return how many bytes of them were written. Never raises OSError.

        Fewer bytes than given were written only if the output failed or the deadline passed. A line
        that was cut in this way is ended by the next write.

        Args:
            deadline: On the monotonic clock. With None, a reader that has stopped is waited for
                without end.
        """
        data, position, locked = lines, 0, False
        was_incomplete = self._incomplete[0]
        try:
            # Wait before taking the lock: otherwise a stopped reader of this process's output makes
            # every other process wait too.
            self._wait_until_writable(deadline)
            locked = self._lock(deadline)
            was_incomplete = self._incomplete[0]
            if was_incomplete:
                data = b"\n" + lines
            view = memoryview(data)
            waits = deadline is not None  # without one the wait above is enough for the first piece
            while position < len(data):
                if waits:
                    self._wait_until_writable(deadline)
                waits = True
                end = len(data) if deadline is None else position + _NON_BLOCKING_BYTES
                self._incomplete[0] = 1  # holds if this process is killed during the system call
                with contextlib.suppress(BlockingIOError):  # the descriptor may be non-blocking
                    position += os.write(self.fd, view[position:end])
        except (OSError, ValueError):
            pass  # the caller compares the returned length
        finally:
            self._incomplete[0] = data[position - 1] != _NEWLINE if position else was_incomplete
            if locked:
                with contextlib.suppress(OSError):
                    fcntl.lockf(self.fd, fcntl.LOCK_UN)
        return max(0, position - (len(data) - len(lines)))

    def _lock(self, deadline: float | None) -> bool:
        """
        Lock the output against other processes; return False if this kind of file has no locks.

        A POSIX record lock belongs to the process and to the file behind the descriptor. It works
        between processes that inherited one descriptor, also on a pipe, and the kernel releases it
        when a process dies.

        Raises:
            BlockingIOError: Another process still holds it at the *deadline*.
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
        """
        Wait for the output.

        Raises:
            TimeoutError: It is not writable at the *deadline*.
        """
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        left_ms = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poll.poll(left_ms):
            raise TimeoutError
