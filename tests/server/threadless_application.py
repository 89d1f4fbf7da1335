"""The application with the large page, unable to start threads while a file exists."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from tests.server.large_application import app

__all__ = ["app"]

OURS = ("scrape", "slow-scrape", "health-", "request-", "liveness-")

start = threading.Thread.start


def start_if_there_is_one(thread: threading.Thread) -> None:
    if thread.name.startswith(OURS) and Path(os.environ["NO_MORE_THREADS"]).exists():
        raise RuntimeError("can't start new thread")
    start(thread)


threading.Thread.start = start_if_there_is_one  # type: ignore[method-assign]
