"""
A service's metrics directory without the service: processes that count, and change on command.

A label set is a counter and a histogram of 15 buckets: 17 stored cells, 18 exposed lines.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from atom_platform.metrics.multiprocess.storage import STORAGE
from atom_platform.metrics.multiprocess.values import install

__all__ = ["LINES_PER_SET", "Population", "populated"]

LINES_PER_SET: Final = 18
_BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)


class _Counters:
    """The metrics of one writing process, made with prometheus_client as any code would."""

    def __init__(self, sets: int) -> None:
        registry = CollectorRegistry()
        names = ["method", "endpoint"]
        requests = Counter("bench_requests_total", "Requests.", names, registry=registry)
        duration = Histogram(
            "bench_duration_seconds", "Durations.", names, registry=registry, buckets=_BUCKETS
        )
        labels = [("GET", f"/api/v1/things/{number}/<thing_id>") for number in range(sets)]
        self._counters = [requests.labels(*each) for each in labels]
        self._histograms = [duration.labels(*each) for each in labels]
        # Seeded: measurements of two days read the same numbers.
        self._random = random.Random(os.getpid() % 97)

    def change(self, first: int, number: int, step: int = 1) -> None:
        """Count once into *number* label sets, every *step*-th one from *first* on."""
        total = len(self._counters)
        for at in range(first, first + number * step, step):
            self._counters[at % total].inc()
            self._histograms[at % total].observe(self._random.lognormvariate(-3, 2))

    def fill(self) -> None:
        """Count into every bucket of everything, so that no line is the cheap `0.0`."""
        for counter, histogram in zip(self._counters, self._histograms, strict=True):
            counter.inc(self._random.randrange(1, 5000))
            for bound in (*_BUCKETS, 60.0):
                histogram.observe(bound * 0.9)


class Population:
    """Processes that count in the directory, each in its slot."""

    def __init__(self, sets: int, workers: int) -> None:
        self._sets = sets
        self._pipes = [_start(sets) for _ in range(workers)]

    def change(self, first: int, number: int, *, step: int = 1, spread: bool = False) -> None:
        """
        Have every process count into *number* label sets, the same in each unless *spread*.
        """
        for which, (_, ask, reply) in enumerate(self._pipes):
            start = first + which * (self._sets // len(self._pipes)) if spread else first
            os.write(ask, f"{start} {number} {step}\n".encode())
            os.read(reply, 1)

    def end(self) -> None:
        """End the processes; what they counted stays."""
        for _, ask, reply in self._pipes:
            os.close(ask)  # each fork holds the pipes of those before it: all, before any wait
            os.close(reply)
        for pid, _, _ in self._pipes:
            os.waitpid(pid, 0)
        self._pipes = []


@contextlib.contextmanager
def populated(directory: Path, *, workers: int, sets: int) -> Iterator[Population]:
    """Have *workers* processes count *sets* label sets each in *directory* meanwhile."""
    STORAGE.use(directory)
    install()
    population = Population(sets, workers)
    try:
        yield population
    finally:
        population.end()


def recycle(sets: int, *, lives: int, counts: Sequence[int]) -> None:
    """Let *lives* processes, one after the other, count into the label sets *counts* and die."""
    for _ in range(lives):
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                counters = _Counters(sets)
                for each in counts:
                    counters.change(each, 1)
            os.kill(os.getpid(), signal.SIGKILL)  # the death that leaves no time for anything
        os.waitpid(pid, 0)


def _start(sets: int) -> tuple[int, int, int]:
    commands, ask = os.pipe()
    reply, answer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(commands)
        os.close(answer)
        os.read(reply, 1)
        return pid, ask, reply
    status = 1
    try:
        os.close(ask)
        os.close(reply)
        counters = _Counters(sets)
        counters.fill()
        os.write(answer, b".")
        with os.fdopen(commands) as lines:
            for line in lines:
                first, number, step = map(int, line.split())
                counters.change(first, number, step)
                os.write(answer, b".")
        status = 0
    finally:
        os._exit(status)
