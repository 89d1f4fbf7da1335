"""A reload changes the workers, and nobody waits for the new ones to load."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.polling import wait_until
from tests.server.load import under_load, workers_of
from tests.server.slow_application import LOADING_SECONDS
from tests.service import Service

Serve = Callable[..., Service]


@pytest.mark.parametrize("args", [[], ["-k", "gthread"]], ids=["ours", "gthread"])
def test_old_workers_serve_until_the_new_ones_have_loaded(
    serve: Serve, tmp_path: Path, args: list[str]
) -> None:
    flag = tmp_path / "slow"
    service = serve(
        app="tests.server.slow_application:app", args=args, env={"SLOW_FROM_NOW_ON": str(flag)}
    )
    old = set(workers_of(service, 2))
    flag.touch()
    slowest = 0.0
    with under_load(service, "/pid", clients=2) as load:
        os.kill(service.arbiter, signal.SIGHUP)
        while set(service.workers()) & old:
            started = time.monotonic()
            assert service.get("/health/live").status == 200
            slowest = max(slowest, time.monotonic() - started)

    assert slowest < LOADING_SECONDS / 2
    assert set(load.answers) == {200}
    assert not load.failures
    assert len(workers_of(service, 2)) == 2


def test_a_stop_does_not_wait_for_a_reload(serve: Serve, tmp_path: Path) -> None:
    flag = tmp_path / "slow"
    service = serve(app="tests.server.slow_application:app", env={"SLOW_FROM_NOW_ON": str(flag)})
    workers_of(service, 2)
    flag.touch()
    os.kill(service.arbiter, signal.SIGHUP)
    wait_until(lambda: len(service.workers()) > 2)

    assert service.stop() == 0
