"""
One configuration of the scrape, ours beside stock, in a process of its own.

`python -m benchmarks.scraping WORKERS SETS RECYCLED STOCK` prints JSON; STOCK is 0 or 1. The same
processes count the same into two directories, one for each. Times are CPU time of the collecting
thread, which is what a quiet machine's clock would show.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.clock import timed_ms
from benchmarks.servers import ROOT
from benchmarks.stock import bury, directory_kib, stock_answer

if TYPE_CHECKING:
    from atom_platform.metrics.scrape.exposition import ExpositionFormat
    from atom_platform.metrics.scrape.page import SharedScrape
    from benchmarks.population import Population

__all__ = ["scrape_figures"]

_OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0"
_SHARED_MEMORY: Final = "/dev/shm"
#: Workers times label sets from which on a figure is a median of three, not of seven.
_LARGE: Final = 16_000
#: Stock is timed once for each state until that took so long: it is the same in all of them.
_STOCK_MS: Final = 2000.0


def scrape_figures(
    *, workers: int, sets: int, recycled: int = 0, stock_too: bool = True, timeout: float = 150.0
) -> dict[str, float]:
    """
    Measure one round of one configuration, in a fresh process.

    Raises:
        subprocess.TimeoutExpired: It took more than *timeout* seconds.
    """
    parent = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="atom-bench-", dir=parent) as directory:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks.scraping"),
                *map(str, (workers, sets, recycled, int(stock_too))),
            ],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PROMETHEUS_MULTIPROC_DIR": directory},
            stdout=subprocess.PIPE,
            text=True,
            timeout=timeout,
            check=True,
        )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


class _Case:
    """One directory, counted in by processes, and what it takes to scrape it."""

    def __init__(self, population: Population, sets: int, workers: int, stock: Path | None) -> None:
        # Imported here: prometheus_client looks for its directory when it is imported.
        from atom_platform.metrics.scrape.exposition import negotiate

        self._population = population
        self._sets = sets
        self._stock = stock
        self._large = sets * workers >= _LARGE
        self._formats = {
            "": negotiate(),
            "_openmetrics_gzip": negotiate(accept=_OPENMETRICS, accept_encoding="gzip"),
        }

    @staticmethod
    def fresh() -> SharedScrape:
        """Return a scrape that has read nothing."""
        from atom_platform.metrics.process_metrics import ProcessMetrics
        from atom_platform.metrics.scrape.page import SharedScrape

        return SharedScrape(ProcessMetrics().families)

    def first(self) -> dict[str, float]:
        """Return what a first scrape takes, and what the process then keeps."""
        figures = {"kept_kib": _in_fork(self._kept_kib, 1)}
        for suffix, wanted in self._formats.items():

            def cold(wanted: ExpositionFormat = wanted) -> float:
                return timed_ms(partial(self.fresh().answer, wanted))

            figures[f"cold{suffix}_ms"] = _in_fork(cold, 2 if self._large else 3)
        return figures

    def later(self) -> dict[str, float]:
        """Return what a scrape takes that has been here before, by how much has changed."""
        scrape = self.fresh()
        scrape.answer(self._formats[""])
        few = max(1, self._sets // 100)
        changes: Mapping[str, Callable[[int], None]] = {
            "unchanged": lambda number: None,
            "one_percent": lambda at: self._population.change(at * 37, few),
            "one_percent_spread": lambda at: self._population.change(at * 37, few, spread=True),
            "all": lambda number: self._population.change(0, self._sets),
        }
        figures: dict[str, float] = {}
        peer: dict[str, list[float]] = {suffix: [] for suffix in self._formats}
        for name, change in changes.items():
            taken: dict[str, list[float]] = {suffix: [] for suffix in self._formats}
            for number in range(3 if self._large else 7):
                # In turns: their ratio is what is promised, and a machine changes its pace.
                for suffix, wanted in self._formats.items():
                    change(number)
                    taken[suffix].append(timed_ms(partial(scrape.answer, wanted)))
            figures |= {f"{name}{suffix}_ms": median(times) for suffix, times in taken.items()}
            if self._stock is not None and sum(peer[""]) < _STOCK_MS:
                for suffix, times in peer.items():
                    call = partial(stock_answer, self._stock, compressed=bool(suffix))
                    times.append(timed_ms(call))
        if self._stock is not None:
            figures |= {f"stock{suffix}_ms": median(times) for suffix, times in peer.items()}
        return figures

    def is_as_stock(self) -> bool:
        """Return whether both expose the same samples, compared as text."""
        assert self._stock is not None
        ours = self.fresh().answer(self._formats[""]).body
        return _bench_lines(ours) == _bench_lines(stock_answer(self._stock))

    def _kept_kib(self) -> float:
        """Return what a process that answers scrapes keeps for that, its last answer included."""
        scrape = self.fresh()
        tracemalloc.start()
        scrape.answer(self._formats[""])
        return tracemalloc.get_traced_memory()[0] / 1024


def main(workers: int, sets: int, recycled: int, stock_too: bool) -> None:
    # Imported here: prometheus_client looks for its directory when it is imported.
    from benchmarks.population import populated
    from benchmarks.recycling import recycling_figures

    directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    stock = directory / "stock" if stock_too else None
    if stock is not None:
        stock.mkdir()
    figures: dict[str, float] = {"workers": workers, "sets": sets, "recycled": recycled}
    with ExitStack() as stack:
        population = stack.enter_context(
            populated(directory, workers=workers, sets=sets, stock=stock)
        )
        case = _Case(population, sets, workers, stock)
        if stock is not None:
            figures["same_samples"] = float(case.is_as_stock())
            bury(stock, recycled)
            figures["stock_directory_kib"] = directory_kib(stock)
        if recycled:
            figures |= recycling_figures(
                directory, case.fresh, population, sets=sets, lives=recycled
            )
        figures["directory_kib"] = directory_kib(directory)
        figures |= case.first() | case.later()
    print(json.dumps(figures))


def _bench_lines(body: bytes) -> list[bytes]:
    return sorted(line for line in body.splitlines() if line.startswith(b"bench_"))


def _in_fork(measure: Callable[[], float], times: int) -> float:
    """Return *measure* of a process that has read nothing yet: the best of *times*."""
    taken = []
    for _ in range(times):
        answer, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(write, str(measure()).encode())
            finally:
                os._exit(0)
        os.close(write)
        taken.append(float(os.read(answer, 64)))
        os.close(answer)
        os.waitpid(pid, 0)
    return min(taken)


if __name__ == "__main__":
    workers, sets, recycled, stock_too = map(int, sys.argv[1:5])
    main(workers, sets, recycled, bool(stock_too))
