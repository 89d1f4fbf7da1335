"""
Requests to one contender without a socket: `python -m benchmarks.in_process CONTENDER`.

Each contender runs in a process of its own, together with bare Flask, and the two take turns every
few milliseconds. What the machine does to one it does to the other, so that the share that the
contender adds is steady when neither time is: bare Flask against itself, a row of every table,
says how steady.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from time import process_time, thread_time
from typing import Any, Final

from benchmarks.rounds import Contender
from benchmarks.servers import ROOT, sink

__all__ = ["contenders_in_process", "reading_of", "timed_contender"]

_WARM_UP: Final = 500
#: Of a turn. Few enough for the next turn to meet the same machine, enough for a clock of one µs.
_REQUESTS: Final = 25
_BARE: Final = "bare_flask"


@contextlib.contextmanager
def contenders_in_process(
    names: Mapping[str, str], *, turns: int
) -> Iterator[dict[str, Contender]]:
    """
    Start each module of *names* in a process of its own.

    Args:
        turns: Turns of contender and of bare Flask in one reading.
    """
    with contextlib.ExitStack() as stack:
        readings = {name: stack.enter_context(_contender(module)) for name, module in names.items()}
        # Answered by a process that has started: one that is still importing would disturb the
        # first round of the others.
        for reading in readings.values():
            reading(1)
        yield {name: functools.partial(reading, turns) for name, reading in readings.items()}


@contextlib.contextmanager
def _contender(module: str) -> Iterator[Callable[[int], Mapping[str, float]]]:
    with tempfile.TemporaryDirectory(prefix="atom-bench-") as directory, sink() as out:
        answers, answering = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.in_process", module, str(answering)],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "PROMETHEUS_MULTIPROC_DIR": directory,
                "DATABASE_URL": f"sqlite:///{directory}/atom.db",
            },
            stdin=subprocess.PIPE,
            stdout=out,
            pass_fds=[answering],
            text=True,
        )
        os.close(answering)
        assert process.stdin is not None
        ask = process.stdin
        try:
            with os.fdopen(answers) as replies:

                def reading(turns: int) -> Mapping[str, float]:
                    ask.write(f"{turns}\n")
                    ask.flush()
                    reply = replies.readline()
                    if not reply:
                        raise RuntimeError(f"{module} ended with {process.wait(10)}")
                    answer: dict[str, float] = json.loads(reply)
                    return answer

                yield reading
        finally:
            with contextlib.suppress(BrokenPipeError):
                ask.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()
                process.wait(5)


def _environ() -> dict[str, Any]:
    """The environ of a small GET through a proxy, as gunicorn makes it."""
    from werkzeug.test import EnvironBuilder

    builder = EnvironBuilder(
        "/things/4711",
        headers=[("Host", "127.0.0.1:8000"), ("User-Agent", "bench"), ("Accept", "*/*")],
    )
    environ = builder.get_environ()
    environ["REMOTE_ADDR"] = "127.0.0.1"
    return environ


def _timed(application: Callable[..., Any], environ: dict[str, Any]) -> Callable[[int], None]:
    statuses: list[str] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        statuses.append(status)
        return None

    def run(requests: int) -> None:
        for _ in range(requests):
            body = application(environ.copy(), start_response)
            for _chunk in body:
                pass
            close = getattr(body, "close", None)
            if close is not None:
                close()
        if set(statuses) != {"200 OK"}:
            raise RuntimeError(f"answered {set(statuses)}")
        statuses.clear()

    return run


def timed_contender(module: str) -> Callable[[int], None]:
    """Return a function that sends the contender *module* a number of requests."""
    return _timed(importlib.import_module(f"benchmarks.contenders.{module}").app, _environ())


def reading_of(
    contender: Callable[[int], None], bare: Callable[[int], None], turns: int
) -> dict[str, float]:
    """
    Return the CPU time of a request to *contender*, and its share above *bare*.

    The share is the median over pairs of turns, plus what other threads of the process used, such
    as one that writes lines. In microseconds it is that share of bare Flask's quickest tenth,
    which is what others on the machine have slowed down least.
    """
    taken: dict[Callable[[int], None], list[float]] = {contender: [], bare: []}
    everybody, this = process_time(), thread_time()
    for number in range(turns):
        pair = (contender, bare) if number % 2 else (bare, contender)
        for run in pair:
            before = thread_time()
            run(_REQUESTS)
            taken[run].append((thread_time() - before) / _REQUESTS * 1e6)
    this, everybody = thread_time() - this, process_time() - everybody
    ours, theirs = taken[contender], taken[bare]
    others_us = max(0.0, everybody - this) / (turns * _REQUESTS) * 1e6
    share = median(a / b for a, b in zip(ours, theirs, strict=True)) - 1
    share += others_us / (sum(theirs) / turns)
    quick_us = sorted(theirs)[turns // 10]
    return {
        "cpu_us": (1 + share) * quick_us,
        "over_bare_us": share * quick_us,
        "over_bare_percent": share * 100,
        "other_threads_us": others_us,
    }


def main(module: str, answering: int) -> None:
    contender, bare = timed_contender(module), timed_contender(_BARE)
    for run in (contender, bare):
        run(_WARM_UP)
    gc.collect()
    gc.freeze()  # what was imported is not looked through again by every collection
    with os.fdopen(answering, "w") as replies:
        for line in sys.stdin:
            replies.write(json.dumps(reading_of(contender, bare, int(line))) + "\n")
            replies.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
