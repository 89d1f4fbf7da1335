"""The servers of a run: each starts for the first section that needs it, and serves them all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import psutil

from benchmarks.servers import ROOT, STOCK, Server, running
from tests.support.postgres import running_postgresql

__all__ = ["SERVICE", "Fleet", "Wanted", "contender", "postgresql"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    A server as a section asks for it.

    Attributes:
        stock: On gunicorn's own threaded worker; otherwise configured as in production.
        postgresql: With a PostgreSQL that exists, otherwise with an SQLite of its own.
        ready: Answers 200 once it serves.
    """

    app: str
    stock: bool = False
    postgresql: bool = False
    ready: str = "/health/live"


def contender(module: str, *, stock: bool = False, postgresql: bool = False) -> Wanted:
    """Return what serves a module of `benchmarks.contenders`."""
    return Wanted(f"benchmarks.contenders.{module}:app", stock=stock, postgresql=postgresql)


#: The platform as it is deployed.
SERVICE: Final = Wanted("wsgi:app", ready="/health/ready")


class Fleet:
    """Keeps servers running until its block ends, and restarts a server that has died."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._servers: dict[Wanted, Server] = {}
        self._database: tuple[str, Callable[[], list[int]]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def server(self, wanted: Wanted) -> Server:
        """Return a running server."""
        server = self._servers.get(wanted)
        if server is None or server.process.poll() is not None:
            env = {"DATABASE_URL": self.database()[0]} if wanted.postgresql else None
            args = STOCK if wanted.stock else ()
            server = self._stack.enter_context(
                running(wanted.app, args=args, env=env, ready=wanted.ready)
            )
            self._servers[wanted] = server
        return server

    def database(self) -> tuple[str, Callable[[], list[int]]]:
        """Return the URL of the run's PostgreSQL, and a function for its pids."""
        if self._database is None:
            self._database = self._stack.enter_context(postgresql())
        return self._database

    def roots(self) -> tuple[int, ...]:
        """Return the processes of the run that are not its descendants."""
        return () if self._database is None else tuple(self._database[1]())


@contextmanager
def postgresql() -> Iterator[tuple[str, Callable[[], list[int]]]]:
    """Run a PostgreSQL with the platform's schema; give its URL, and a function for its pids."""
    with running_postgresql() as server:
        url = server.create_database("bench")
        subprocess.run(
            [sys.executable, "-m", "atom_platform", "migrate"],
            cwd=ROOT,
            env={"DATABASE_URL": url},
            check=True,
            capture_output=True,
            timeout=60,
        )

        def pids() -> list[int]:
            pidfile = next(server.directory.glob("**/postmaster.pid"))
            postmaster = psutil.Process(int(pidfile.read_text().splitlines()[0]))
            return [postmaster.pid, *(c.pid for c in postmaster.children(recursive=True))]

        yield url, pids
