"""CPU time of the working thread, which equals the time on an idle machine."""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time

__all__ = ["timed_ms"]


def timed_ms(call: Callable[[], object]) -> float:
    """Return the CPU time of this thread for *call*, in milliseconds."""
    began = thread_time()
    call()
    return (thread_time() - began) * 1000
