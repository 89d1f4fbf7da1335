"""Quantiles of a histogram as Prometheus works them out, so that both show the same."""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["quantile"]


def quantile(share: float, buckets: Mapping[float, float]) -> float | None:
    """
    Return the value below which *share* of the observations lie; None when there are none.

    The value is taken to lie on a straight line within its bucket. Beyond the last finite bound
    nothing is known, so that bound is the answer.

    Args:
        share: From 0 to 1.
        buckets: Cumulative counts by upper bound, the one of `+Inf` among them.
    """
    bounds = sorted(buckets)
    if len(bounds) < 2 or bounds[-1] != math.inf or not buckets[math.inf] > 0:
        return None
    rank = share * buckets[math.inf]
    lower, below = 0.0, 0.0
    for bound in bounds:
        if bound == math.inf:
            break
        if buckets[bound] >= rank:
            inside = buckets[bound] - below
            return lower + (bound - lower) * ((rank - below) / inside) if inside else lower
        lower, below = bound, buckets[bound]
    return lower
