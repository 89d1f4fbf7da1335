"""The gunicorn under test, and its figures."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import psutil

from tests.support.polling import wait_until
from tests.support.ports import free_port

__all__ = ["PATH", "WORKERS", "RefusedError", "RunningService", "counted", "growing", "running"]

ROOT: Final = Path(__file__).resolve().parent.parent.parent
WORKERS: Final = 4
#: What is asked for; its rule is its path, and it needs no database.
PATH: Final = "/api/v1/skills"
RECYCLING: Final = ("--max-requests", "500", "--max-requests-jitter", "250")


class RefusedError(OSError):
    """No connection: nothing was sent."""


class RunningService:
    """One gunicorn, and the requests to it."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], scratch: Path) -> None:
        self.port, self.process = port, process
        self._log, self._directory = scratch / "log", scratch / "metrics"

    def get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.connect()
        except OSError as error:
            raise RefusedError(str(error)) from error
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def workers(self) -> list[int]:
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    if child.status() != psutil.STATUS_ZOMBIE:
                        found.append(child.pid)
        return found

    def _cpu_seconds(self) -> float:
        spent = 0.0
        for pid in [self.process.pid, *self.workers()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = psutil.Process(pid).cpu_times()
                spent += times.user + times.system
        return spent

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get("/health/startup")[0] == 200 and len(self.workers()) == WORKERS
        return False

    def is_idle(self) -> bool:
        """Return whether it used less than a tenth of a processor for half a second."""
        before, began = self._cpu_seconds(), time.monotonic()
        time.sleep(0.5)
        return self._cpu_seconds() - before < 0.1 * (time.monotonic() - began)

    def lives(self) -> int:
        """Return how many workers were started so far."""
        return self._log.read_bytes().count(b"Booting worker with pid")

    def look(self) -> tuple[int, int]:
        """Return number and bytes of the files in the metrics directory."""
        sizes = []
        for path in self._directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        return len(sizes), sum(sizes)


@contextlib.contextmanager
def running(arguments: Sequence[str]) -> Iterator[RunningService]:
    """Start gunicorn with *arguments* on a free port, and end it with all its workers."""
    with tempfile.TemporaryDirectory(prefix="atom-soak-") as directory:
        port, scratch = free_port(), Path(directory)
        (scratch / "metrics").mkdir()
        environment = {
            "PATH": os.environ["PATH"],
            "PORT": str(port),
            "DATABASE_URL": f"sqlite:///{scratch}/atom.db",
            "PROMETHEUS_MULTIPROC_DIR": str(scratch / "metrics"),
        }
        bind = ("--bind", f"127.0.0.1:{port}")
        command = [sys.executable, "-m", "gunicorn", *arguments, *RECYCLING, *bind]
        with (scratch / "log").open("wb") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        service = RunningService(port, process, scratch)
        try:
            wait_until(service.is_ready, seconds=60)
            yield service
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    for each in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.kill()
    process.wait(10)


def growing(body: bytes) -> dict[str, float]:
    """Return the samples of counters and histograms by their text."""
    found, growing = {}, False
    for line in body.decode().splitlines():
        if line.startswith("# TYPE"):
            growing = line.endswith((" counter", " histogram"))
        elif growing and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            found[series] = float(value)
    return found


def counted(body: bytes) -> float:
    """Return how many requests of `PATH` an exposition says there were."""
    return sum(
        value
        for series, value in growing(body).items()
        if series.startswith("http_requests_total{") and f'endpoint="{PATH}"' in series
    )
