"""The arbiter counts too, and looks after its files when nobody else has a reason to."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from tests.polling import wait_until
from tests.service import Service


def test_its_counts_survive_the_directory(serve: Callable[..., Service], tmp_path: Path) -> None:
    metrics = tmp_path / "metrics"
    service = serve(env={"PROMETHEUS_MULTIPROC_DIR": str(metrics), "WEB_CONCURRENCY": "2"})
    os.kill(service.workers()[0], signal.SIGKILL)
    killed = "gunicorn_worker_exits_total"
    wait_until(lambda: service.sample(killed, reason="killed") == 1)
    wait_until(lambda: len(service.workers()) == 2)

    shutil.rmtree(metrics)

    wait_until(lambda: metrics.is_dir() and list(metrics.glob("*.db")))
    wait_until(lambda: service.sample(killed, reason="killed") == 1)
