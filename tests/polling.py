"""Waiting for what happens elsewhere, with a deadline instead of a sleep."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["free_port", "wait_until"]

T = TypeVar("T")


def wait_until(condition: Callable[[], T], *, seconds: float = 20.0, every: float = 0.02) -> T:
    """
    Call *condition* until it returns something true, and return that.

    Raises:
        AssertionError: It still did not after *seconds*.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {condition}")
        time.sleep(every)


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
