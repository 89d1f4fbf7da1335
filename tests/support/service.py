"""The service as its users run it: a real gunicorn on a free port, its output read line by line."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.support.polling import wait_until
from tests.support.ports import free_port
from tests.support.stalls import scaled

__all__ = ["ROOT", "Answer", "Service", "clean_environment", "migrate", "running_service"]

ROOT = Path(__file__).resolve().parents[2]


def clean_environment() -> dict[str, str]:
    """Return what every process of a test needs: programs, and where run files lie."""
    return {name: os.environ[name] for name in ("PATH", "XDG_RUNTIME_DIR")}


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response, body included."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Service:
    """
    One `gunicorn wsgi:app`.

    It shares nothing with what else runs on this machine: its port is reserved, its run file lies
    in a directory of this test process, and its database in *directory*.

    Args:
        directory: Where its SQLite database goes (unless *env* says DATABASE_URL).
        env: Settings, laid over a clean environment.
        args: Further arguments of gunicorn.
        app: What to serve.
        cwd: Where to start it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        env: Mapping[str, str] | None = None,
        args: Sequence[str] = (),
        app: str = "wsgi:app",
        cwd: Path = ROOT,
    ) -> None:
        self.port = free_port()
        self.env = {
            **clean_environment(),
            "PORT": str(self.port),
            "DATABASE_URL": f"sqlite:///{directory}/atom.db",
            **(env or {}),
        }
        self.output: list[bytes] = []
        self._command = [sys.executable, "-m", "gunicorn", app, *args]
        self._cwd = cwd

    def start(self, *, wait: bool = True) -> None:
        """Start it and, unless told not to, wait until it is ready."""
        self.process = subprocess.Popen(
            self._command,
            cwd=self._cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if wait:
            wait_until(self._started, seconds=40)

    def stop(self, *, seconds: float = 20) -> int:
        """Ask it to stop with SIGTERM, wait, and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(scaled(seconds))
        finally:
            self.kill()

    def kill(self) -> None:
        """End what is left of it, workers first known included."""
        family = self._family()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(scaled(10))
        psutil.wait_procs(family, timeout=scaled(10))
        self._reader.join(scaled(10))
        if self.process.stdout:
            self.process.stdout.close()

    @property
    def arbiter(self) -> int:
        return self.process.pid

    def workers(self) -> list[int]:
        """Return the pids of the living worker processes."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [
                child.pid
                for child in psutil.Process(self.process.pid).children()
                if child.status() != psutil.STATUS_ZOMBIE
            ]
        return []

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 20,
    ) -> Answer:
        """
        Send one request on a connection of its own; *body* goes out as JSON unless bytes.

        Args:
            timeout: Seconds on a quiet machine; a busy one gets longer.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=scaled(timeout))
        sent = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **kwargs: Any) -> Answer:
        return self.request("GET", path, **kwargs)

    def post(self, path: str, body: Any = None, **kwargs: Any) -> Answer:
        return self.request("POST", path, body, **kwargs)

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Scrape it, and return every sample by its name and labels."""
        answer = self.get("/health/metrics")
        assert answer.status == 200, answer
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.body.decode())
            for sample in family.samples
        }

    def sample(self, name: str, **labels: str) -> float:
        """Scrape it, and return the one sample (0.0 when it is absent)."""
        return self.samples().get((name, frozenset(labels.items())), 0.0)

    def total(self, name: str, **labels: str) -> float:
        """Scrape it, and sum the samples of *name* that have all of *labels*."""
        wanted = set(labels.items())
        return sum(
            value
            for (each, its_labels), value in self.samples().items()
            if each == name and wanted <= its_labels
        )

    def log(self) -> list[dict[str, Any]]:
        """Return what it has printed so far; every line must be one JSON object."""
        return [json.loads(line) for line in list(self.output)]

    def logged(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """Return the lines so far with this event and these fields."""
        return [
            line
            for line in self.log()
            if line["event"] == event and all(line.get(k) == v for k, v in fields.items())
        ]

    def _started(self) -> bool:
        if self.process.poll() is not None:
            self._reader.join(scaled(5))
            raise RuntimeError("it did not start:\n" + b"".join(self.output).decode())
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get("/health/startup", timeout=20).status == 200
        return False

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line)

    def _family(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []


@contextlib.contextmanager
def running_service(directory: Path, **kwargs: Any) -> Iterator[Service]:
    """Start a service, and end it and every worker of it afterwards."""
    service = Service(directory, **kwargs)
    try:
        service.start()
        yield service
    finally:
        service.kill()


def migrate(env: Mapping[str, str]) -> None:
    """Apply the migrations the way a deployment does: once, before the service starts."""
    subprocess.run(
        [sys.executable, "-m", "atom_platform", "migrate"],
        cwd=ROOT,
        env={**clean_environment(), **env},
        check=True,
        capture_output=True,
        timeout=scaled(60),
    )
