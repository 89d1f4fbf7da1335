"""The scrapes of the last seconds, and what has been counted between them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from atom_platform.metrics.samples import SampleSet

__all__ = ["Growth", "Window"]

STARTED = "process_start_time_seconds"
SHORTEST_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Growth:
    """
    What was counted in a stretch of time.

    Attributes:
        samples: By how much each counter grew.
        seconds: How long that took; above 0.
        from_start: The stretch began with the service.
    """

    samples: SampleSet
    seconds: float
    from_start: bool


@dataclass(frozen=True, slots=True)
class _Moment:
    at: float
    samples: SampleSet


class Window:
    """
    The scrapes of the last *seconds*.

    A service that has been started anew counts from nought: then everything before is forgotten,
    and what it has counted since its start is what grew. Behind a load balancer, where one scrape
    is of one replica and the next of another, that happens all the time: ask a replica.
    """

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._moments: deque[_Moment] = deque()

    def add(self, samples: SampleSet, *, at: float) -> Growth:
        """
        Take a scrape, and return what grew up to it.

        Args:
            at: When it was, in seconds since the Unix epoch by the service's clock.
        """
        moments = self._moments
        started = samples.total(STARTED)
        if moments and (moments[-1].samples.total(STARTED) != started or moments[-1].at > at):
            moments.clear()
        moments.append(_Moment(at, samples))
        while len(moments) > 2 and moments[1].at <= at - self._seconds:
            moments.popleft()
        if len(moments) == 1:
            seconds = max(at - started, SHORTEST_SECONDS)
            return Growth(samples.since(SampleSet({})), seconds, from_start=True)
        first = moments[0]
        seconds = max(at - first.at, SHORTEST_SECONDS)
        return Growth(samples.since(first.samples), seconds, from_start=False)
