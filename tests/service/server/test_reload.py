"""A reload replaces the workers, and no request waits for the new ones to load."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.load import under_load, workers_of
from tests.support.polling import wait_until
from tests.support.service import Service
from tests.support.slow_application import LOADING_SECONDS
from tests.support.stalls import scaled
from tests.support.upgrade import upgraded

Serve = Callable[..., Service]


@pytest.mark.parametrize("args", [[], ["-k", "gthread"]], ids=["ours", "gthread"])
def test_old_workers_serve_until_the_new_ones_have_loaded(
    serve: Serve, tmp_path: Path, args: list[str]
) -> None:
    flag = tmp_path / "slow"
    service = serve(
        app="tests.support.slow_application:app", args=args, env={"SLOW_FROM_NOW_ON": str(flag)}
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

    assert slowest < scaled(LOADING_SECONDS) / 2
    assert set(load.answers) == {200}
    assert not load.failures
    assert len(workers_of(service, 2)) == 2


def test_a_stop_does_not_wait_for_a_reload(serve: Serve, tmp_path: Path) -> None:
    flag = tmp_path / "slow"
    service = serve(app="tests.support.slow_application:app", env={"SLOW_FROM_NOW_ON": str(flag)})
    workers_of(service, 2)
    flag.touch()
    os.kill(service.arbiter, signal.SIGHUP)
    wait_until(lambda: len(service.workers()) > 2)

    assert service.stop() == 0


def test_an_arbiter_started_as_a_module_can_be_reexecuted(serve: Serve) -> None:
    """`python -m gunicorn`: executed again as it was started, with the same metrics."""
    service = serve(env={"WEB_CONCURRENCY": "1"})
    (old,) = workers_of(service, 1)
    service.get("/pid")
    with upgraded(service) as successor:
        assert successor.cmdline()[1:3] == ["-m", "gunicorn"]
        heirs = {child.pid for child in successor.children()}
        wait_until(lambda: int(service.get("/pid").body) in heirs, seconds=40)
        asked = service.total("http_requests_total", endpoint="/pid")

    assert old not in heirs
    assert asked >= 2  # the first one was answered by the old worker
