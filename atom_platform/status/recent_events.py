"""
Recent events that metrics cannot show: log lines at ERROR, and state transitions of checks.

All workers write to ring files in the metrics directory, so that any worker can answer for the
whole service. Without a metrics directory each process keeps its own events (`is_shared` is False).
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

__all__ = ["RECENT_EVENTS", "RecentEvents"]

ERRORS_KEPT: Final = 50
TRANSITIONS_KEPT: Final = 200

#: The fields of a log line that a browser may see, and their allowed forms. All others, messages
#: and tracebacks included, stay in the log: they may hold hosts, SQL or input of a client.
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


class RecentEvents:
    """
    The recent errors and check transitions of a service.

    Its methods do nothing until `open`, and never raise. There is one object per process
    (`RECENT_EVENTS`), because there is one log.
    """

    def __init__(self) -> None:
        self.is_open = False
        self.is_shared = False
        self._errors: Ring = MemoryRing(ERRORS_KEPT)
        self._transitions: Ring = MemoryRing(TRANSITIONS_KEPT)
        self._health: dict[str, bool] = {}
        self._lock = threading.Lock()

    def open(self) -> None:
        """Start recording, in the metrics directory if there is one."""
        prepared = directories.prepared()
        if prepared is not None and prepared.path is not None and not self.is_shared:
            with contextlib.suppress(OSError):
                service = prepared.owner.service
                path = prepared.path
                errors = FileRing(path / ".status-errors", service, slots=ERRORS_KEPT)
                self._transitions = FileRing(
                    path / ".status-transitions", service, slots=TRANSITIONS_KEPT
                )
                self._errors = errors
                self.is_shared = True
        self.is_open = True

    def close(self) -> None:
        """Stop recording, and drop the events in this process's memory."""
        self.__init__()  # type: ignore[misc]  # the state of a new object

    def record_error(self, line: Mapping[str, Any]) -> None:
        """Record the public fields of a log line."""
        if not self.is_open:
            return
        with contextlib.suppress(Exception):
            self._errors.add(public_fields(line))

    def record_check_result(self, name: str, result: CheckResult) -> None:
        """Record the *result* of a check run if its state changed in this process."""
        if not self.is_open:
            return
        with self._lock:
            # Before its first run a check counts as healthy.
            changed = self._health.get(name, True) is not result.healthy
            self._health[name] = result.healthy
        if changed:
            with contextlib.suppress(Exception):
                self._transitions.add(
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

    def transitions(self) -> list[dict[str, Any]]:
        """Return the last transitions, oldest first; each worker runs the checks itself."""
        return _read(self._transitions)


def public_fields(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return the public fields of a log line (SHOWN, status, pid and the exception's type)."""
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


RECENT_EVENTS: Final = RecentEvents()
