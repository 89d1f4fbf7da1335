"""
What a template may spend: fuel for each turn and each value it makes, and a little processor time.

Jinja2's own sandbox keeps templates away from Python's internals; it does not keep them from
filling the memory or from turning for ever. Here whatever makes a value pays for its size, before
the size is allocated where it can be told before.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

__all__ = ["TooExpensive", "charge", "metered", "turns", "weighed"]

#: Characters and elements that all the values made for one step may hold together.
FUEL: Final = 2**22

Value = TypeVar("Value")


class TooExpensive(Exception):
    """A template asks for more work, or makes more text, than a template may."""


class _Meter:
    __slots__ = ("deadline", "fuel")

    def __init__(self, cpu_seconds: float) -> None:
        self.fuel = FUEL
        self.deadline = time.thread_time() + cpu_seconds


_meter: ContextVar[_Meter] = ContextVar("template_meter")


@contextmanager
def metered(*, cpu_seconds: float) -> Iterator[None]:
    """
    Give all that is rendered inside one allowance.

    Args:
        cpu_seconds: Processor time of this thread. Not time on the wall: a busy machine would
            refuse what an idle one takes.
    """
    token = _meter.set(_Meter(cpu_seconds))
    try:
        yield
    finally:
        _meter.reset(token)


def charge(cost: int) -> None:
    """
    Pay *cost* units.

    Raises:
        TooExpensive: The allowance is used up.
        LookupError: Nobody opened a meter. Jinja2, folding constants while it compiles, takes that
            for "not a constant" and leaves the work to the rendering, where there is one.
    """
    meter = _meter.get()
    meter.fuel -= cost
    if meter.fuel < 0:
        raise TooExpensive("makes more text or more values than a template may")
    if time.thread_time() > meter.deadline:
        raise TooExpensive("takes longer than a template may")


def weighed(value: Value) -> Value:
    """Pay for all that *value* holds, and return it; what stands in it twice is paid for twice."""
    waiting: list[Any] = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            charge(1 + len(each))
        elif isinstance(each, Mapping):
            charge(1 + len(each))
            waiting.extend(each.keys())
            waiting.extend(each.values())
        elif isinstance(each, (list, tuple)):
            charge(1 + len(each))
            waiting.extend(each)
        elif isinstance(each, int):
            charge(1 + each.bit_length() // 8)
        else:
            charge(1)
    return value


def turns(iterable: Iterable[Value]) -> Iterator[Value]:
    """Pay for each turn of a loop over *iterable*."""
    for each in iterable:
        charge(1)
        yield each
