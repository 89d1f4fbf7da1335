"""How a cost grows, fitted from a run's own points: a straight line through their logarithms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Law", "Point", "fit", "straight"]

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Law:
    """
    cost = factor × size ** exponent, between *least* and *most*.

    Attributes:
        last: The exponent between the two largest sizes. A constant part lowers the other exponent,
            so this one predicts larger sizes better.
        worst: The factor by which the worst point is off; 1 is an exact fit.
    """

    factor: float
    exponent: float
    last: float
    least: float
    most: float
    points: int
    worst: float

    def at(self, size: float) -> float:
        """Return the cost of *size*; beyond the points it is an extrapolation."""
        return self.factor * float(size**self.exponent)


def fit(points: Sequence[Point]) -> Law:
    """
    Return the power law that fits *points* best, by least squares of the logarithms.

    Raises:
        ValueError: There are fewer than three points, or a value has no logarithm.
    """
    if len({x for x, _ in points}) < 3:
        raise ValueError("a law needs three sizes")
    logarithms = sorted((math.log(x), math.log(y)) for x, y in points)
    constant, exponent = straight(logarithms)
    _, last = straight(logarithms[-2:])
    factor = math.exp(constant)
    offs = [abs(math.log(y / (factor * x**exponent))) for x, y in points]
    sizes = [x for x, _ in points]
    return Law(factor, exponent, last, min(sizes), max(sizes), len(points), math.exp(max(offs)))


def straight(points: Sequence[Point]) -> tuple[float, float]:
    """Return intercept and slope of the straight line that fits best, by least squares."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread == 0:
        raise ValueError("a line needs two sizes")
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    return mean_y - slope * mean_x, slope
