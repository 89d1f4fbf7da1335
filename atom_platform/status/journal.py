"""
What happened lately that no metric can tell: errors with their request, and checks that turned.

All workers write into rings beside their metrics, so that whichever worker is asked answers for
all. Where there is no such directory each process keeps its own, and says so.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from atom_platform.health.check import CheckResult
from atom_platform.metrics.storage import directory as directories
from atom_platform.status.ring import FileRing, MemoryRing, Ring

__all__ = ["JOURNAL", "Journal"]

ERRORS_KEPT: Final = 50
TURNS_KEPT: Final = 200

#: What a browser may see of a line, and in which form. Everything else, messages and tracebacks
#: first of all, stays in the log: it may hold hosts, SQL or what a client sent.
SHOWN: Final[Mapping[str, Callable[[str], object]]] = {
    "timestamp": re.compile(r"[0-9T:.-]{1,32}Z").fullmatch,
    "level": re.compile(r"[A-Z]{1,16}").fullmatch,
    "logger": re.compile(r"[A-Za-z0-9_.]{1,80}").fullmatch,
    "event": re.compile(r"[a-z][a-z0-9_]{0,63}").fullmatch,
    "request_id": re.compile(r"[A-Za-z0-9._-]{1,128}").fullmatch,
    "method": re.compile(r"[A-Z]{1,16}").fullmatch,
    "endpoint": re.compile(r"unmatched|/[A-Za-z0-9_./<>:-]{0,127}").fullmatch,
    "agent_id": re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch,
    "skill_id": re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch,
    "exception_type": re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,79}").fullmatch,
}
#: A traceback ends with its exception: a type, and perhaps a message.
LAST_LINE: Final = re.compile(r"^([A-Za-z_][A-Za-z0-9_.]{0,79})(?=: |:?$)")


class Journal:
    """
    The errors and turns of a service. It does nothing until it is opened, and never raises then.

    One per process (`JOURNAL`), because there is one log.
    """

    def __init__(self) -> None:
        self.is_open = False
        self.is_shared = False
        self._errors: Ring = MemoryRing(ERRORS_KEPT)
        self._turns: Ring = MemoryRing(TURNS_KEPT)
        self._health: dict[str, bool] = {}
        self._lock = threading.Lock()

    def open(self) -> None:
        """Begin to take notes, beside the metrics if there is a place."""
        prepared = directories.prepared()
        if prepared is not None and prepared.path is not None and not self.is_shared:
            with contextlib.suppress(OSError):
                service = prepared.owner.service
                path = prepared.path
                errors = FileRing(path / ".status-errors", service, slots=ERRORS_KEPT)
                self._turns = FileRing(path / ".status-turns", service, slots=TURNS_KEPT)
                self._errors = errors
                self.is_shared = True
        self.is_open = True

    def close(self) -> None:
        """Forget everything that this process kept."""
        self.__init__()  # type: ignore[misc]  # as it was made

    def note_error(self, line: Mapping[str, Any]) -> None:
        """Keep of a log line what may be shown."""
        if not self.is_open:
            return
        with contextlib.suppress(Exception):
            self._errors.add(shown(line))

    def note_check(self, name: str, result: CheckResult) -> None:
        """Keep the *result* of a run of a check if it is news in this process."""
        if not self.is_open:
            return
        with self._lock:
            # Before its first run a check counts as healthy.
            turned = self._health.get(name, True) is not result.healthy
            self._health[name] = result.healthy
        if turned:
            with contextlib.suppress(Exception):
                self._turns.add(
                    {
                        "at": round(time.time(), 3),
                        "check": name,
                        "healthy": result.healthy,
                        "message": result.message[:200],
                        "pid": os.getpid(),
                    }
                )

    def errors(self) -> list[dict[str, Any]]:
        """Return the last errors, newest first."""
        return _read(self._errors)[::-1]

    def turns(self) -> list[dict[str, Any]]:
        """Return the last turns of checks, oldest first; each worker runs the checks itself."""
        return _read(self._turns)


def shown(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a browser may see of a log line."""
    record: dict[str, Any] = {
        key: line[key]
        for key, fits in SHOWN.items()
        if isinstance(line.get(key), str) and fits(line[key])
    }
    if isinstance(status := line.get("status"), int):
        record["status"] = status
    if "exception_type" not in record and isinstance(text := line.get("exception"), str):
        found = LAST_LINE.match(text.rstrip().rpartition("\n")[2])
        if found:
            record["exception_type"] = found[1]
    record["pid"] = os.getpid()
    return record


def _read(ring: Ring) -> list[dict[str, Any]]:
    try:
        return ring.records()
    except OSError:
        return []


JOURNAL: Final = Journal()
