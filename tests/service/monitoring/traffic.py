"""Users of a service: threads that keep asking until they are told to go home."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable

from tests.support.service import Service
from tests.support.stalls import scaled

__all__ = ["Traffic", "Visit"]

Visit = Callable[[Service], object]


class Traffic:
    """
    Calls of *visit* on *service*, one after the other in each of *threads* threads.

    Args:
        pause_seconds: Between two calls of a thread; a user, not a benchmark.
    """

    def __init__(
        self, service: Service, visit: Visit, *, threads: int = 1, pause_seconds: float = 0.3
    ) -> None:
        self._service = service
        self._visit = visit
        self._pause_seconds = pause_seconds
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(scaled(30))

    def _run(self) -> None:
        while not self._over.wait(self._pause_seconds):
            # Refused, reset or late: what the user does not get is what the drill is about.
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._visit(self._service)
