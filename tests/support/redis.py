"""A real redis-server on loopback, which a test may freeze, end and start again."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import redis

from tests.support.polling import wait_until
from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.stalls import scaled

__all__ = ["RedisServer"]


class RedisServer:
    """
    One server.

    Args:
        directory: Where it runs; it writes nothing there.
    """

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = [
            needs("redis-server", package="redis-server"),
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            *("--save", "", "--dir", str(directory)),
        ]

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_until(self._answers, seconds=60)

    def command(self, *words: str, password: str | None = None) -> None:
        """Have it do something."""
        with redis.Redis.from_url(self.url, password=password, socket_timeout=30) as client:
            client.execute_command(*words)

    def kill(self) -> None:
        """End it, frozen or not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(scaled(30))

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1, retry=None) as client:
                client.ping()
        except redis.RedisError:
            return False
        return True
