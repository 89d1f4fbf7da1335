"""Contenders measured in turn, A B C C B A, so that what the machine does hits all of them."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.noise import Noise, Quiet

__all__ = ["Contender", "Measured", "Reading", "interleave", "note"]

#: Takes one reading; each quantity by its name, which ends in its unit.
Contender = Callable[[], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Reading:
    """
    What one contender gave in one round.

    Attributes:
        foreign: The share of the machine's CPUs that others used meanwhile.
    """

    values: Mapping[str, float]
    foreign: float


@dataclass(frozen=True, slots=True)
class Measured:
    """All readings of one contender."""

    readings: tuple[Reading, ...]
    limit: float

    @property
    def clean(self) -> int:
        """How many of them were taken on a quiet machine."""
        return sum(reading.foreign < self.limit for reading in self.readings)

    def has(self, quantity: str) -> bool:
        """Return whether any reading has *quantity*."""
        return any(quantity in reading.values for reading in self.readings)

    def of(self, quantity: str) -> list[float]:
        """Return the values of *quantity*: the clean ones if they are three or more, else all."""
        chosen = [reading for reading in self.readings if reading.foreign < self.limit]
        if len(chosen) < 3:
            chosen = list(self.readings)
        return [each.values[quantity] for each in chosen if quantity in each.values]

    def median(self, quantity: str) -> float:
        """
        Return the median of *quantity*.

        Raises:
            KeyError: No reading has it.
        """
        values = self.of(quantity)
        if not values:
            raise KeyError(quantity)
        return statistics.median(values)

    def spread(self, quantity: str) -> tuple[float, float]:
        """Return its lowest and its highest value."""
        values = self.of(quantity)
        return min(values), max(values)

    def most(self, quantity: str) -> float:
        """Return its highest value of all readings, disturbed ones too."""
        return max(each.values[quantity] for each in self.readings if quantity in each.values)

    def as_json(self) -> dict[str, Any]:
        """Return everything, for the results file."""
        names = sorted({name for reading in self.readings for name in reading.values})
        return {
            "medians": {name: self.median(name) for name in names},
            "spread": {name: self.spread(name) for name in names},
            "clean": self.clean,
            "readings": [{"foreign": r.foreign, **r.values} for r in self.readings],
        }


def interleave(
    contenders: Mapping[str, Contender],
    *,
    rounds: int,
    quiet: Quiet,
    roots: tuple[int, ...] = (),
) -> dict[str, Measured]:
    """
    Return what each contender gave in *rounds* rounds, and in a few more for those disturbed.

    Every other round runs backwards: who comes after whom must not decide. Rounds beyond *rounds*
    are paid out of the budget of *quiet*, and made while it has room for one as long as the longest
    so far: a run has an end on any machine.
    """
    longest = 0.0
    readings: dict[str, list[Reading]] = {name: [] for name in contenders}
    for number in range(2 * rounds):
        clean = [sum(r.foreign < quiet.limit for r in each) for each in readings.values()]
        enough = min(clean) >= min(3, rounds)
        if number >= rounds and (enough or quiet.budget_seconds <= longest):
            break
        began = time.monotonic()
        order = list(contenders.items())
        for name, contender in order if number % 2 == 0 else reversed(order):
            quiet.wait()
            noise = Noise(roots)
            values = contender()
            readings[name].append(Reading(values, noise.share()))
        taken = time.monotonic() - began
        longest = max(longest, taken)
        if number >= rounds:
            quiet.spend(taken)
    return {name: Measured(tuple(each), quiet.limit) for name, each in readings.items()}


def note(text: str) -> None:
    """Say what is going on."""
    print(text, file=sys.stderr, flush=True)
