"""
A soak: requests, two scrapers, and workers that are recycled, killed, stopped and reloaded.

    python -m benchmarks.soak [--requests 20000] [--seconds 145] [--peer] [--seed 1]

Prints a Markdown table: what was sent against what was counted, and what became of scrapes, files
and time. `--peer` has the same happen to prometheus_client's own multiprocess mode, with stock
gthread workers.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import random
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final

from benchmarks.soak.result import Soak, table
from benchmarks.soak.service import PATH, WORKERS, RunningService, counted, running
from benchmarks.soak.storm import storm
from tests.support.polling import wait_until

AT_REST: Final = 20
_WARM: Final = 200

SERVICE: Final = ("wsgi:app", "--workers", str(WORKERS))
PEER: Final = (
    *("benchmarks.soak.peer:app", "--config", "python:benchmarks.soak.peer"),
    *("--workers", str(WORKERS), "--worker-class", "gthread", "--threads", "4"),
    "--no-control-socket",
)


def soak(name: str, arguments: Sequence[str], *, requests: int, seconds: float, seed: int) -> Soak:
    """Send *requests* requests, evenly over *seconds*, while workers come and go."""
    result = Soak(name)
    with running(arguments) as service:
        _warm(service)
        wait_until(service.is_idle, seconds=60)
        result.first = _timed_scrapes(service)
        before = service.look()
        started = time.monotonic()
        storm(service, result, requests=requests, seconds=seconds, rng=random.Random(seed))
        result.seconds = time.monotonic() - started
        wait_until(lambda: service.is_ready() and service.is_idle(), seconds=60)
        result.last = _timed_scrapes(service)
        after = service.look()
        result.files, result.size_bytes = (before[0], after[0]), (before[1], after[1])
        result.counted = counted(service.get("/health/metrics")[1]) - _WARM
        result.lives = service.lives()
    return result


def _warm(service: RunningService) -> None:
    """Have every series there before the first look, and most workers counting."""
    threads = [
        threading.Thread(target=lambda: [service.get(PATH) for _ in range(_WARM // 4)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _timed_scrapes(service: RunningService) -> list[float]:
    """Return the seconds of each scrape, once every worker has had its first."""
    taken: list[float] = []
    for _ in range(2 * AT_REST):
        began = time.perf_counter()
        with contextlib.suppress(OSError, http.client.HTTPException):
            service.get("/health/metrics")
        taken.append(time.perf_counter() - began)
    return taken[AT_REST:]


def main(argv: Sequence[str] | None = None) -> int:
    """Run it, print the table, and return 1 when the service's own numbers were not true."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=145.0, help="for each of the two")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peer", action="store_true", help="and plain prometheus_client")
    asked = parser.parse_args(argv)
    contenders: list[tuple[str, Sequence[str]]] = [("atom_platform", SERVICE)]
    if asked.peer:
        contenders.append(("plain prometheus_client", PEER))
    results = [
        soak(name, arguments, requests=asked.requests, seconds=asked.seconds, seed=asked.seed)
        for name, arguments in contenders
    ]
    print(table(results))
    for result in results:
        for line in [*result.decreases[:10], *result.scrape_errors[:3]]:
            print(f"{result.name}: {line}", file=sys.stderr)
    ours = results[0]
    return int(not ours.exact or bool(ours.decreases or ours.scrape_errors))


if __name__ == "__main__":
    sys.exit(main())
