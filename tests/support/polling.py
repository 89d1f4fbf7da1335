"""Waiting for what happens elsewhere, with a deadline instead of a sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tests.support.ports import free_port
from tests.support.stalls import scaled

__all__ = ["free_port", "wait_until"]

T = TypeVar("T")


def wait_until(condition: Callable[[], T], *, seconds: float = 20.0, every: float = 0.02) -> T:
    """
    Call *condition* until it returns something true, and return that.

    Args:
        seconds: How long to go on, on a quiet machine; a busy one gets longer.
        every: Seconds between two calls.

    Raises:
        AssertionError: It returned nothing true in that time.
    """
    began = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - began
        if waited > seconds and waited > scaled(seconds):
            raise AssertionError(f"not within {waited:.1f} s: {condition}")
        time.sleep(every)
