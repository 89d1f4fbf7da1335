"""
The cost of counting a request in a process with many label sets.

`python -m benchmarks.counting SETS` prints JSON: µs a call of the public `record_request`, the loop
around it included. `same_us` asks for one label set again and again, `in_turn_us` for all of them,
one after the other, as traffic does that has them all, so that none of them is in the processor's
caches by chance. `first_us` is the mean of meeting one for the first time.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from statistics import median
from time import thread_time
from typing import Final

from benchmarks.servers import ROOT

__all__ = ["counting_figures"]

_CALLS: Final = 20_000
_TURNS: Final = 15

#: Method, endpoint, status and duration in seconds.
_Request = tuple[str, str, int, float]


def counting_figures(sets: int) -> dict[str, float]:
    """Measure one size once, in a fresh process."""
    with tempfile.TemporaryDirectory(prefix="atom-bench-", dir=_memory()) as directory:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.counting", str(sets)],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PROMETHEUS_MULTIPROC_DIR": directory},
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            check=True,
        )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main(sets: int) -> None:
    # Imported here: prometheus_client looks for its directory when it is imported.
    from atom_platform.extension.request_record import RequestRecord
    from atom_platform.metrics.http_metrics import record_request

    def record(method: str, endpoint: str, status: int, seconds: float) -> None:
        record_request(RequestRecord(method, endpoint, endpoint, status, seconds, 0, ""))

    known: list[_Request] = [
        ("GET", f"/api/v1/things/{number}/<thing_id>", 200, 0.0042) for number in range(sets)
    ]
    figures = {"sets": float(len(known)), "first_us": _us_a_call(record, known)}
    gc.collect()
    gc.freeze()  # a collection looks through what has been learnt since, not through imports
    rounds = {"same_us": [known[0]] * _CALLS, "in_turn_us": list(islice(cycle(known), _CALLS))}
    taken: dict[str, list[float]] = {name: [] for name in rounds}
    for _ in range(_TURNS):
        for name, requests in rounds.items():
            taken[name].append(_us_a_call(record, requests))
    figures |= {name: median(times) for name, times in taken.items()}
    print(json.dumps(figures))


def _us_a_call(
    record: Callable[[str, str, int, float], None], requests: Sequence[_Request]
) -> float:
    began = thread_time()
    for method, endpoint, status, seconds in requests:
        record(method, endpoint, status, seconds)
    return (thread_time() - began) / len(requests) * 1e6


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    main(int(sys.argv[1]))
