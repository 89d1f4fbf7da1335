"""
A metrics directory without a service: processes that count, and change counts on command.

A label set is a counter and a histogram of 15 buckets: 17 stored cells, 18 exposed lines. Each
process counts the same a second time, with prometheus_client's own value class in a directory
that plain prometheus_client reads.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, values

from atom_platform.metrics.storage.storage import STORAGE
from atom_platform.metrics.storage.value_class import install_value_class

__all__ = ["LINES_PER_SET", "Population", "populated"]

LINES_PER_SET: Final = 18
_BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)


class _Counters:
    """The metrics of one writing process, made with prometheus_client as any code would."""

    def __init__(self, sets: int, stock: Path | None = None) -> None:
        self._twin: _Counters | None = None
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
        if stock is not None and STORAGE.slot_files is not None:
            # Padded: the order of names is then that of slots, and sums are added up in it.
            name = f"{STORAGE.slot_files.slot:04}"
            made: Callable[..., Any] = values.MultiProcessValue
            values.ValueClass = made(lambda: name)
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(stock)
            self._twin = _Counters(sets)

    def change(self, first: int, number: int, step: int = 1) -> None:
        """Count once into *number* label sets, every *step*-th one from *first* on."""
        total = len(self._counters)
        for at in range(first, first + number * step, step):
            self._count(at % total, 1, self._random.lognormvariate(-3, 2))

    def fill(self) -> None:
        """Count into every bucket of everything, so that no line is the cheap `0.0`."""
        for at in range(len(self._counters)):
            self._count(at, self._random.randrange(1, 5000))
            for bound in (*_BUCKETS, 60.0):
                self._count(at, 0, bound * 0.9)

    def _count(self, at: int, amount: int, *observed: float) -> None:
        self._counters[at].inc(amount)
        for value in observed:
            self._histograms[at].observe(value)
        if self._twin is not None:
            self._twin._count(at, amount, *observed)


class Population:
    """Processes that count in the directory, each in its slot."""

    def __init__(self, sets: int, workers: int, stock: Path | None) -> None:
        self._sets = sets
        self._stock = stock
        self._pipes = [_start(sets, stock) for _ in range(workers)]
        for _, _, reply in self._pipes:
            os.read(reply, 1)  # it has counted everything once

    def change(self, first: int, number: int, *, step: int = 1, spread: bool = False) -> None:
        """
        Have every process count into *number* label sets, the same in each unless *spread*.
        """
        for which, (_, ask, _) in enumerate(self._pipes):
            start = first + which * (self._sets // len(self._pipes)) if spread else first
            os.write(ask, f"{start} {number} {step}\n".encode())
        for _, _, reply in self._pipes:
            os.read(reply, 1)

    def retire(self) -> None:
        """End the last process, so that its slot is the lowest that is free."""
        pid, ask, reply = self._pipes.pop()
        os.close(ask)
        os.close(reply)
        os.waitpid(pid, 0)

    def hire(self) -> None:
        """Start one more, which counts everything once in the lowest free slot."""
        self._pipes.append(_start(self._sets, self._stock))
        os.read(self._pipes[-1][2], 1)

    def end(self) -> None:
        """End the processes; what they counted stays."""
        for _, ask, reply in self._pipes:
            os.close(ask)  # each fork holds the pipes of those before it: all, before any wait
            os.close(reply)
        for pid, _, _ in self._pipes:
            os.waitpid(pid, 0)
        self._pipes = []


@contextlib.contextmanager
def populated(
    directory: Path, *, workers: int, sets: int, stock: Path | None = None
) -> Iterator[Population]:
    """Have *workers* processes count *sets* label sets each in *directory*, and in *stock* too."""
    STORAGE.switch_to(directory)
    install_value_class()
    population = Population(sets, workers, stock)
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


def _start(sets: int, stock: Path | None) -> tuple[int, int, int]:
    commands, ask = os.pipe()
    reply, answer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(commands)
        os.close(answer)
        return pid, ask, reply
    status = 1
    try:
        os.close(ask)
        os.close(reply)
        counters = _Counters(sets, stock)
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
