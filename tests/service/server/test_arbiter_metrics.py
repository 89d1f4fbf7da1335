"""The arbiter has metric files of its own, and keeps them when the directory is deleted."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from tests.support.polling import wait_until
from tests.support.service import Service


def test_counts_of_the_arbiter_survive_a_deleted_directory(
    serve: Callable[..., Service], tmp_path: Path
) -> None:
    """Nobody has scraped before, so no worker knows of the arbiter's file."""
    metrics = tmp_path / "metrics"
    service = serve(env={"PROMETHEUS_MULTIPROC_DIR": str(metrics), "WEB_CONCURRENCY": "2"})
    os.kill(service.workers()[0], signal.SIGKILL)
    wait_until(lambda: service.logged("worker_exited", reason="killed"))

    shutil.rmtree(metrics)

    wait_until(lambda: (metrics / "counter_slot0.columnar").exists())
    wait_until(lambda: service.sample("gunicorn_worker_exits_total", reason="killed") == 1)
