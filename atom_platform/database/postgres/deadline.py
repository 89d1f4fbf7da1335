"""Deadlines for work that waits on sockets, and the pipe by which another thread ends a wait."""

from __future__ import annotations

import contextlib
import math
import os
import select
import threading
import time
from typing import Final

__all__ = ["READABLE", "WRITABLE", "Deadline", "Waker"]

READABLE: Final = select.POLLIN
WRITABLE: Final = select.POLLOUT

#: How often the wait for an event looks at the waker: an event cannot be polled beside it.
POLL_SECONDS: Final = 0.1


class Waker:
    """
    Ends a wait from another thread, by a pipe.

    Closing the descriptor that a thread polls does not wake it, and the kernel may give its number
    to another file.
    """

    def __init__(self) -> None:
        self.descriptor, self._write = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._write, False)
        self.woken = False

    def wake(self) -> None:
        """End the wait under way, and every later one until `reset`."""
        self.woken = True
        with contextlib.suppress(BlockingIOError):  # full: it has been woken already
            os.write(self._write, b"!")

    def reset(self) -> None:
        """Let later waits wait again."""
        self.woken = False
        with contextlib.suppress(BlockingIOError):
            while os.read(self.descriptor, 512):
                pass

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # `os.pipe` failed: no descriptor was left
            os.close(self.descriptor)
            os.close(self._write)


class Deadline:
    """
    The end of a piece of work, shared by all the waits it consists of.

    Args:
        seconds: From now.
        waker: Ends the work early, from another thread.
    """

    __slots__ = ("_at", "_waker")

    def __init__(self, seconds: float, *, waker: Waker | None = None) -> None:
        self._at = time.monotonic() + seconds
        self._waker = waker

    @property
    def remaining_seconds(self) -> float:
        """The time left; never negative."""
        return max(0.0, self._at - time.monotonic())

    def wait(self, descriptor: int, events: int, *, at_most_seconds: float = math.inf) -> bool:
        """Wait until *descriptor* is ready; return False after the deadline or a wake-up."""
        poller = select.poll()
        poller.register(descriptor, events)
        if self._waker is not None:
            poller.register(self._waker.descriptor, select.POLLIN)
        end = min(self._at, time.monotonic() + at_most_seconds)
        while True:
            left = end - time.monotonic()
            ready = poller.poll(max(0, math.ceil(left * 1000)))
            if self._waker is not None and any(fd == self._waker.descriptor for fd, _ in ready):
                self._at = 0.0
                return False
            if ready:
                return True
            if left <= 0:
                return False

    def wait_for(self, event: threading.Event, *, at_most_seconds: float = math.inf) -> bool:
        """Wait for another thread's event; returns as `wait` does."""
        end = min(self._at, time.monotonic() + at_most_seconds)
        while not event.wait(max(0.0, min(POLL_SECONDS, end - time.monotonic()))):
            if self._waker is not None and self._waker.woken:
                self._at = 0.0
            if time.monotonic() >= min(end, self._at):
                return False
        return True
