"""The application with the large page, unable to start threads while a file exists."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from tests.support.large_application import app

__all__ = ["app"]

OURS = ("scrape", "health-", "request-", "liveness-")

start = threading.Thread.start


def start_if_there_is_one(self: threading.Thread) -> None:
    if self.name.startswith(OURS) and Path(os.environ["NO_MORE_THREADS"]).exists():
        raise RuntimeError("can't start new thread")
    start(self)


threading.Thread.start = start_if_there_is_one  # type: ignore[method-assign]
