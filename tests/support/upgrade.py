"""A service whose arbiter is replaced while it runs, as SIGUSR2 does."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support.polling import wait_until
from tests.support.service import Service

__all__ = ["is_running", "upgradable", "upgraded"]


class _ByScript(Service):
    """
    Started by the `gunicorn` script.

    gunicorn executes its first argument again. After `python -m gunicorn` that is `__main__.py` as
    a script, with gunicorn's own folder first in the path: its `http` hides the library's.
    """

    def start(self, *, wait: bool = True) -> None:
        self._command = [str(Path(sys.executable).with_name("gunicorn")), *self._command[3:]]
        super().start(wait=wait)


def is_running(process: psutil.Process) -> bool:
    """Return whether *process* still runs; one that nobody has reaped yet does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def upgradable(directory: Path, *, env: Mapping[str, str] | None = None) -> Iterator[Service]:
    """Start such a service with two workers, and end it."""
    service = _ByScript(directory, env={"WEB_CONCURRENCY": "2", **(env or {})})
    try:
        service.start()
        yield service
    finally:
        service.kill()


@contextmanager
def upgraded(service: Service) -> Iterator[psutil.Process]:
    """Have the arbiter start its successor, and end that with its workers."""
    os.kill(service.arbiter, signal.SIGUSR2)
    successor: list[psutil.Process] = []

    def started() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(service.arbiter).children()
            successor[:] = [child for child in children if child.children()]
        return bool(successor)

    wait_until(started, seconds=40)
    try:
        yield successor[0]
    finally:
        family = (
            successor + successor[0].children(recursive=True) if successor[0].is_running() else []
        )
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        wait_until(lambda: not any(map(is_running, family)))
