"""A real PgBouncer in transaction mode, in front of a test's PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.polling import wait_until
from tests.support.ports import free_port
from tests.support.stalls import scaled

__all__ = ["PGBOUNCER", "running_pgbouncer"]

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@contextlib.contextmanager
def running_pgbouncer(server_port: int, **settings: str) -> Iterator[int]:
    """Run it with *settings* in addition to the usual ones; yield its port."""
    assert PGBOUNCER is not None
    directory = Path(tempfile.mkdtemp(prefix="atom-pgbouncer-"))
    directory.chmod(0o777)
    port = free_port()
    options = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": "transaction",
        "default_pool_size": "3",
        "max_client_conn": "200",
        "server_login_retry": "0.1",
        **settings,
    }
    config = directory / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server_port} user=postgres\n[pgbouncer]\n"
        + "".join(f"{key} = {value}\n" for key, value in options.items())
    )
    command = [PGBOUNCER, "-q", str(config)]
    if os.geteuid() == 0:  # it does not run as root
        command[1:1] = ["-u", "nobody"]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: _answers(port) or process.poll() is not None, seconds=10)
        assert process.poll() is None, (directory / "log").read_text()
        yield port
    finally:
        process.kill()
        process.wait(scaled(10))
        shutil.rmtree(directory, ignore_errors=True)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
