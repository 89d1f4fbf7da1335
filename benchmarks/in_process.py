"""
Requests to one contender without a socket: `python -m benchmarks.in_process CONTENDER`.

Told how many requests to time, line by line; answers with microseconds a request. CPU time of the
whole process, so that a thread that writes log lines is not forgotten, and wall time.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter, process_time
from typing import Any, Final

from benchmarks.rounds import Contender
from benchmarks.servers import ROOT, sink

__all__ = ["contenders_in_process"]

_WARM_UP: Final = 500


@contextlib.contextmanager
def contenders_in_process(
    names: Mapping[str, str], *, requests: int, chunks: int
) -> Iterator[dict[str, Contender]]:
    """
    Start each module of *names* in a process of its own; asked in turn, they do not disturb.

    Args:
        requests: Each chunk's; long enough for the thread that writes lines to have its turn.
        chunks: The cheapest of these is a reading.
    """
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(_contender(module, requests, chunks))
            for name, module in names.items()
        }


@contextlib.contextmanager
def _contender(module: str, requests: int, chunks: int) -> Iterator[Contender]:
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

                def reading() -> Mapping[str, float]:
                    taken = []
                    for _ in range(chunks):
                        ask.write(f"{requests}\n")
                        ask.flush()
                        reply = replies.readline()
                        if not reply:
                            raise RuntimeError(f"{module} ended with {process.wait(10)}")
                        taken.append(json.loads(reply))
                    return {key: min(each[key] for each in taken) for key in taken[0]}

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
    """As gunicorn makes it for a small GET through a proxy."""
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


def main(module: str, answering: int) -> None:
    application = importlib.import_module(f"benchmarks.contenders.{module}").app
    run = _timed(application, _environ())
    run(_WARM_UP)
    gc.collect()
    gc.freeze()  # what was imported is not looked through again by every collection
    with os.fdopen(answering, "w") as replies:
        for line in sys.stdin:
            requests = int(line)
            cpu, wall = process_time(), perf_counter()
            run(requests)
            wall, cpu = perf_counter() - wall, process_time() - cpu
            answer = {"cpu_us": cpu / requests * 1e6, "wall_us": wall / requests * 1e6}
            replies.write(json.dumps(answer) + "\n")
            replies.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
