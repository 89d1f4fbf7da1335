"""
How slow the machine is at the moment, and time bounds that allow for it.

A bound that holds on a quiet machine says nothing on one that four other processes keep busy. So
bounds of tests are written for a quiet machine and passed through `scaled`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

__all__ = ["STALLS", "Stalls", "scaled"]

#: How much CPU time one sample takes: longer than a time slice, so that it meets the competitors.
_BURST_SECONDS: Final = 0.004
#: How often a sample is taken; with the burst, 1.5 % of one core.
_PAUSE_SECONDS: Final = 0.25
#: How long a sample counts. A bound is asked for when what it bounds is over.
_WINDOW_SECONDS: Final = 30.0
#: The most by which a bound grows: a service that burns all CPU itself must still fail its tests.
_MOST: Final = 10.0


@dataclass(frozen=True, slots=True)
class Sample:
    """
    One look at the machine.

    Attributes:
        at: When, on the monotonic clock.
        slowdown: Wall time of a burst of work divided by its CPU time; 1.0 on a quiet machine.
        late: By how many seconds a sleep was too long: the machine stood still, or its disk did.
    """

    at: float
    slowdown: float
    late: float


class Stalls:
    """Samples of the last half minute, taken by a thread once `start` was called."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=int(_WINDOW_SECONDS / _PAUSE_SECONDS))
        self._started = False

    def start(self) -> None:
        """Start the thread, if it does not run yet; it ends with the process."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, name="stalls", daemon=True).start()

    def factor(self, *, now: float | None = None) -> float:
        """Return by what a bound must be multiplied, from 1.0 to 10.0."""
        now = time.monotonic() if now is None else now
        recent = [each for each in list(self._samples) if each.at > now - _WINDOW_SECONDS]
        if not recent:
            return 1.0
        # The worst tenth is left out: a burst that meets one competitor once is no slow machine.
        ordered = sorted(each.slowdown for each in recent)
        usual = ordered[int(0.9 * (len(ordered) - 1))]
        return min(_MOST, max(1.0, usual))

    def stalled(self, *, now: float | None = None) -> float:
        """Return for how many seconds of the last half minute nothing ran at all."""
        now = time.monotonic() if now is None else now
        return sum(each.late for each in list(self._samples) if each.at > now - _WINDOW_SECONDS)

    def add(self, sample: Sample) -> None:
        self._samples.append(sample)

    def _run(self) -> None:
        while True:
            began = time.monotonic()
            time.sleep(_PAUSE_SECONDS)
            late = max(0.0, time.monotonic() - began - _PAUSE_SECONDS - 0.02)
            self.add(Sample(time.monotonic(), _slowdown(), late))


def _slowdown() -> float:
    began, used = time.perf_counter(), time.thread_time()
    while time.thread_time() - used < _BURST_SECONDS:
        pass
    return (time.perf_counter() - began) / (time.thread_time() - used)


STALLS: Final = Stalls()


def scaled(seconds: float) -> float:
    """
    Return the bound *seconds*, written for a quiet machine, as this machine keeps it now.

    Ask after the measurement, not before it: the samples that count are those taken meanwhile.
    """
    return seconds * STALLS.factor() + STALLS.stalled()
