"""Real servers on free ports of loopback, ended by the pids they were started with."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

__all__ = ["ROOT", "STOCK", "Server", "free_port", "running", "sink"]

ROOT: Final = Path(__file__).resolve().parent.parent
#: gunicorn's own threaded worker with as many threads as ours, and nothing of ours.
STOCK: Final = (
    *("--config", "python:benchmarks.contenders.stock_configuration"),
    *("--workers", "2", "--threads", "4", "--worker-class", "gthread"),
    *("--keep-alive", "75", "--no-control-socket"),
)
_START_SECONDS: Final = 40.0


def free_port() -> int:
    """Return a TCP port of loopback without a listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def sink() -> Iterator[int]:
    """Yield the writing end of a pipe that is read, as by a container's runtime."""
    reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert reader.stdin is not None
    try:
        yield reader.stdin.fileno()
    finally:
        reader.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            reader.wait(5)
        if reader.poll() is None:  # a worker that outlived its service still holds the pipe
            reader.kill()
            reader.wait(5)


class Server:
    """One gunicorn."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self.port = process, port

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """Return status and body of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path, headers=dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def workers(self) -> list[psutil.Process]:
        """Return the worker processes."""
        return psutil.Process(self.process.pid).children()

    def stop(self) -> None:
        """Stop it gracefully, then kill the workers that remain."""
        family: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            family = psutil.Process(self.process.pid).children(recursive=True)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(8)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(5)
        for worker in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
        psutil.wait_procs(family, timeout=5)


@contextlib.contextmanager
def running(
    app: str,
    *,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    ready: str = "/health/live",
) -> Iterator[Server]:
    """
    Run `gunicorn app` until the block ends; with no *args* it is configured as in production.

    Args:
        ready: Answers 200 once the server serves.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="atom-bench-") as directory, sink() as out:
        metrics = Path(directory, "metrics")
        metrics.mkdir()
        environment = {
            "PATH": os.environ["PATH"],
            "PORT": str(port),
            "DATABASE_URL": f"sqlite:///{directory}/atom.db",
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
            **(env or {}),
        }
        bind = ("--bind", f"127.0.0.1:{port}")
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *bind, *args, app],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        server = Server(process, port)
        try:
            _wait(server, ready)
            yield server
        finally:
            server.stop()


def _wait(server: Server, path: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise RuntimeError(f"gunicorn ended with status {server.process.returncode}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            if server.get(path)[0] == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{path} did not answer 200 within {_START_SECONDS:.0f} s")
