"""A worker that gives itself up answers what it has, and is replaced."""

from __future__ import annotations

import signal
from collections.abc import Callable

from atom_platform.server.surrender import surrender
from tests.polling import wait_until
from tests.service import Service


def test_worker_is_replaced(serve: Callable[..., Service]) -> None:
    service = serve(env={"WEB_CONCURRENCY": "2"})

    gone = int(service.get("/surrender").body)

    wait_until(lambda: len(service.workers()) == 2 and gone not in service.workers())
    assert service.get("/pid").status == 200
    assert service.sample("gunicorn_worker_exits_total", reason="terminated") == 1
    assert service.logged("worker_surrenders", reason="drill")


def test_without_an_arbiter_nothing_ends() -> None:
    """`flask run`, a test, a script: nobody would start them again."""
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        surrender("drill")
    finally:
        signal.signal(signal.SIGTERM, before)

    assert received == []
