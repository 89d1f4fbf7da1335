"""The small application, slow to load once its directory says so."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.support.application import app

__all__ = ["app"]

LOADING_SECONDS = 5.0

if Path(os.environ.get("SLOW_FROM_NOW_ON", "/nowhere")).exists():
    time.sleep(LOADING_SECONDS)
