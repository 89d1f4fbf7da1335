"""
One configuration of the scrape, ours beside stock, in a process of its own.

`python -m benchmarks.scraping WORKERS SETS DEAD STOCK` prints JSON. The same processes count the
same into two directories, one for each. Times are CPU time of the collecting thread, which is
what a quiet machine's clock would show.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from time import thread_time
from typing import Any, Final

from benchmarks.servers import ROOT

__all__ = ["scrape_figures"]

_OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0"
_SHARED_MEMORY: Final = "/dev/shm"


def scrape_figures(
    *, workers: int, sets: int, dead: int = 0, stock_too: bool = True
) -> dict[str, float]:
    """Measure one round of one configuration, in a fresh process."""
    parent = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="atom-bench-", dir=parent) as directory:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks.scraping"),
                *map(str, (workers, sets, dead, int(stock_too))),
            ],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PROMETHEUS_MULTIPROC_DIR": directory},
            stdout=subprocess.PIPE,
            text=True,
            timeout=600,
            check=True,
        )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main(workers: int, sets: int, dead: int, stock_too: bool) -> None:
    # Imported here: prometheus_client looks for its directory when it is imported.
    from atom_platform.metrics.exposition import negotiated
    from atom_platform.metrics.processes import Processes
    from atom_platform.metrics.scrape import Scrape
    from benchmarks.population import populated, recycle

    directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    stock = directory / "stock"
    stock.mkdir()
    text = negotiated()
    compressed = negotiated(accept=_OPENMETRICS, accept_encoding="gzip")
    figures: dict[str, float] = {}

    def fresh() -> Scrape:
        return Scrape(Processes().families)

    twin = stock if stock_too else None
    with populated(directory, workers=workers, sets=sets, stock=twin) as population:
        figures["directory_kib"] = _kib(directory)
        figures["kept_kib"] = _in_fork(lambda: _kept_kib(fresh, text))
        figures["cold_ms"] = _in_fork(lambda: _timed(lambda: fresh().answer(text)))
        figures["cold_openmetrics_gzip_ms"] = _in_fork(
            lambda: _timed(lambda: fresh().answer(compressed))
        )
        scrape = fresh()
        scrape.answer(text)
        changes: Mapping[str, Callable[[int], None]] = {
            "unchanged": lambda number: None,
            "one_percent": lambda at: population.change(at * 37, max(1, sets // 100)),
            "one_percent_spread": lambda at: population.change(
                at * 37, max(1, sets // 100), spread=True
            ),
            "all": lambda number: population.change(0, sets),
        }
        peer: dict[str, list[float]] = {"": [], "_openmetrics_gzip": []}
        for name, change in changes.items():
            taken: dict[str, list[float]] = {"": [], "_openmetrics_gzip": []}
            for number in range(7):
                # In turns: their ratio is what is promised, and a machine changes its pace.
                for suffix, wanted in zip(taken, (text, compressed), strict=True):
                    change(number)
                    taken[suffix].append(_timed(partial(scrape.answer, wanted)))
            for suffix, times in taken.items():
                figures[f"{name}{suffix}_ms"] = sorted(times)[3]
            if stock_too:  # once a state: a machine changes its pace
                for suffix, times in peer.items():
                    times.append(_timed(partial(_stock, stock, compressed=bool(suffix))))
        if stock_too:
            figures |= {f"stock{suffix}_ms": median(times) for suffix, times in peer.items()}
            figures["stock_directory_kib"] = _kib(stock)
            same = _bench_lines(scrape.answer(text).body) == _bench_lines(_stock(stock))
            figures["same_samples"] = float(same)
        if dead:
            figures |= _recycled(directory, fresh, text, dead, sets, recycle)
    print(json.dumps(figures))


def _recycled(
    directory: Path,
    fresh: Callable[[], Any],
    text: Any,
    dead: int,
    sets: int,
    recycle: Callable[..., None],
) -> dict[str, float]:
    """Compare the directory after one recycled worker with that after *dead* of them."""
    recycle(sets, lives=1, counts=[0])

    def measure() -> tuple[float, float, float, float]:
        cold = min(_timed(lambda: fresh().answer(text)) for _ in range(3))
        scrape = fresh()
        scrape.answer(text)
        # Before and after cannot take turns, so each is in units of a loop that does: on a shared
        # machine that loop alone was seen to differ by 1.6 times from minute to minute.
        turns = [(_timed(lambda: scrape.answer(text)), _timed(_control)) for _ in range(40)]
        unit = min(loop for _, loop in turns)
        cold, warm = cold / unit, min(taken for taken, _ in turns) / unit
        first = 'bench_requests_total{endpoint="/api/v1/things/0/<thing_id>",method="GET"} '
        line = next(
            each
            for each in scrape.answer(text).body.decode().splitlines()
            if each.startswith(first)
        )
        return cold, warm, _kib(directory), float(line.rpartition(" ")[2])

    cold, warm, size, count = measure()
    recycle(sets, lives=dead, counts=[0])
    cold_then, warm_then, size_then, count_then = measure()
    return {
        "recycled_cold_ratio": cold_then / cold,
        "recycled_warm_ratio": warm_then / warm,
        "recycled_directory_ratio": size_then / size,
        "recycled_counts_lost": dead - (count_then - count),
    }


def _stock(directory: Path, *, compressed: bool = False) -> bytes:
    """Do what `make_wsgi_app` of prometheus_client does in multiprocess mode."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.metrics_core import Metric
    from prometheus_client.multiprocess import MultiProcessCollector
    from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

    class Sorted:
        """In order of the slots: a sum's last bit depends on the order, and stock's is chance."""

        def collect(self) -> Iterable[Metric]:
            files = sorted(map(str, directory.glob("*.db")))
            merge: Callable[..., Iterable[Metric]] = MultiProcessCollector.merge
            return merge(files, accumulate=True)

    registry = CollectorRegistry()
    registry.register(Sorted())
    render: Callable[..., bytes] = openmetrics if compressed else generate_latest
    body = render(registry)
    return gzip.compress(body) if compressed else body


def _bench_lines(body: bytes) -> list[bytes]:
    return sorted(line for line in body.splitlines() if line.startswith(b"bench_"))


def _kib(directory: Path) -> float:
    files = [each for each in directory.iterdir() if each.suffix in (".db", ".tally")]
    return sum(each.stat().st_size for each in files) / 1024


def _kept_kib(fresh: Callable[[], Any], text: Any) -> float:
    """Return what a process that answers scrapes keeps for that, its last answer included."""
    scrape = fresh()
    tracemalloc.start()
    scrape.answer(text)
    return tracemalloc.get_traced_memory()[0] / 1024


def _timed(call: Callable[[], object]) -> float:
    began = thread_time()
    call()
    return (thread_time() - began) * 1000


def _control() -> int:
    return sum(number & 7 for number in range(20_000))


def _in_fork(measure: Callable[[], float]) -> float:
    """Return *measure* of a process that has read nothing yet: the best of three."""
    taken = []
    for _ in range(3):
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
    workers, sets, dead, stock_too = map(int, sys.argv[1:5])
    main(workers, sets, dead, bool(stock_too))
