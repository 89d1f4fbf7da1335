"""
How tools ask a running service, and what its metrics say: growth of counters, and quantiles.

Each request has a connection of its own, as a probe does, and never goes through a proxy.
"""

from __future__ import annotations

import http.client
import json
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from atom_platform.metrics.samples import SampleSet

__all__ = [
    "STARTED",
    "TIMEOUT_SECONDS",
    "Growth",
    "Reply",
    "Window",
    "client_for",
    "describe",
    "quantile",
]

TIMEOUT_SECONDS = 5.0
MAX_BODY_BYTES: Final = 256 * 1024**2

STARTED: Final = "process_start_time_seconds"
LEAST_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, and how long it took."""

    status: int
    body: bytes
    milliseconds: float

    def json(self) -> dict[str, Any]:
        """Return the body if it is a JSON object, otherwise an empty one."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


def client_for(url: str, *, token: str | None = None) -> Callable[[str], Reply]:
    """
    Return a function that gets a path of the service at *url*.

    The function raises OSError or HTTPException when there is no answer.

    Args:
        token: Sent as `Authorization: Bearer`.

    Raises:
        ValueError: *url* is not an HTTP URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the URL must start with http:// or https:// and name a host")
    host, port, prefix = parts.hostname, parts.port, parts.path.rstrip("/")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    headers = {"Connection": "close"}
    if token:
        headers["Authorization"] = f"Bearer {token}"

    def get(path: str) -> Reply:
        connection = kind(host, port, timeout=TIMEOUT_SECONDS)
        start = time.perf_counter()
        try:
            connection.request("GET", prefix + path, headers=headers)
            response = connection.getresponse()
            body = response.read(MAX_BODY_BYTES)
            return Reply(response.status, body, (time.perf_counter() - start) * 1000)
        finally:
            connection.close()

    return get


def describe(error: Exception) -> str:
    """Return what happened, without the addresses that some errors spell out."""
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


class Growth(NamedTuple):
    """By how much each counter grew, in how many seconds, and whether since the service's start."""

    samples: SampleSet
    seconds: float
    from_start: bool


class Window:
    """
    The scrapes of the last *seconds*.

    When the service has restarted, earlier scrapes are forgotten: its counters start at zero.
    """

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._scrapes: deque[tuple[float, SampleSet]] = deque()

    def add(self, samples: SampleSet, *, at: float) -> Growth:
        """Add a scrape, taken *at* seconds since the epoch, and return the growth up to it."""
        scrapes, started = self._scrapes, samples.total(STARTED)
        if scrapes and (scrapes[-1][1].total(STARTED) != started or scrapes[-1][0] > at):
            scrapes.clear()
        scrapes.append((at, samples))
        while len(scrapes) > 2 and scrapes[1][0] <= at - self._seconds:
            scrapes.popleft()
        from_start = len(scrapes) == 1
        first, earlier = (started, SampleSet({})) if from_start else scrapes[0]
        return Growth(samples.since(earlier), max(at - first, LEAST_SECONDS), from_start)


def quantile(share: float, buckets: Mapping[float, float]) -> float | None:
    """
    Return a quantile of a histogram as Prometheus computes it; None without observations.

    The value lies on a straight line within its bucket. Beyond the last finite bound that bound is
    the result.

    Args:
        share: From 0 to 1.
        buckets: Cumulative counts by upper bound, `+Inf` included.
    """
    bounds = sorted(buckets)
    if len(bounds) < 2 or bounds[-1] != math.inf or not buckets[math.inf] > 0:
        return None
    rank = share * buckets[math.inf]
    lower, below = 0.0, 0.0
    for bound in bounds[:-1]:
        if buckets[bound] >= rank:
            inside = buckets[bound] - below
            return lower + (bound - lower) * ((rank - below) / inside) if inside else lower
        lower, below = bound, buckets[bound]
    return lower
