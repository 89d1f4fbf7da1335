"""How long a request waited for this process, by the load balancer's clock."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["queue_seconds"]

_START: Final = re.compile(r"(?:t=)?([0-9]{1,20}(?:\.[0-9]{1,9})?)")
#: Clocks of two machines agree to some milliseconds.
_SKEW_SECONDS: Final = 0.05
_LONGEST_SECONDS: Final = 3600


def queue_seconds(header: str, now: float) -> float | None:
    """
    Return how long before *now* the load balancer took the request, by its `X-Request-Start`.

    The header may hold seconds, milliseconds or microseconds, with or without `t=`. None for
    anything else, and for a moment in the future or over an hour ago: clocks differ, or a client
    made it up.
    """
    found = _START.fullmatch(header.strip())
    if found is None:
        return None
    start = float(found[1])
    for unit in (1.0, 1e3, 1e6):
        waited = now - start / unit
        if -_SKEW_SECONDS <= waited <= _LONGEST_SECONDS:
            return max(0.0, waited)
    return None
