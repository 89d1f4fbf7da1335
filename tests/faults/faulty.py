"""
The service with one of its parts broken on purpose: `gunicorn tests.faults.faulty:app`.

`FAULT` names what raises, `FAULT_WHILE` a file: while it is there, it does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from atom_platform.metrics.families import HistogramCells
from atom_platform.metrics.label_limits import LabelLimiter
from atom_platform.metrics.scrape.collector import Collector
from atom_platform.metrics.storage.problem_log import ProblemLog
from atom_platform.metrics.storage.storage import Storage
from atom_platform.metrics.storage.value_class import SlotValue
from wsgi import app

__all__ = ["PARTS", "app"]

#: Where an exception could come from: every layer between a request and its number.
PARTS: Final[dict[str, tuple[Any, str]]] = {
    "cell": (Storage, "cell"),
    "heartbeat": (Storage, "_is_sound"),
    "observation": (HistogramCells, "observe"),
    "id": (LabelLimiter, "limit"),
    "note": (ProblemLog, "note"),
    "value": (SlotValue, "inc"),
    "scrape": (Collector, "collect"),
}


class InjectedError(Exception):
    """What nobody has thought of."""


def sabotage(part: str, fault: Path) -> None:
    """Have *part* raise while *fault* exists."""
    owner, name = PARTS[part]
    works: Callable[..., Any] = getattr(owner, name)

    def raising(*args: Any, **kwargs: Any) -> Any:
        if fault.exists():
            raise InjectedError(part)
        return works(*args, **kwargs)

    setattr(owner, name, raising)


if "FAULT" in os.environ:
    sabotage(os.environ["FAULT"], Path(os.environ["FAULT_WHILE"]))
