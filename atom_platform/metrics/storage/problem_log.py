"""
Failures of counting or scraping, kept until it is safe to count and log them.

Log handlers count their lines, and need the lock of the storage for that. So the storage must not
log while it holds its lock: it notes the failure here, and a caller without the lock logs it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from pathlib import Path
from typing import Final

__all__ = ["ProblemLog"]

log = logging.getLogger("atom_platform.metrics")

#: Different failures that are logged. Further ones are only counted.
_LOGGED_AT_MOST: Final = 200


class ProblemLog:
    """A queue of failures. Its methods, except `log`, are safe under any lock."""

    def __init__(self) -> None:
        self._uncounted: deque[str] = deque(maxlen=10_000)
        self._unlogged: deque[tuple[str, dict[str, str]]] = deque(maxlen=_LOGGED_AT_MOST)
        self._seen: set[tuple[str, str]] = set()
        self._logging = threading.local()

    def note(
        self,
        kind: str | None,
        event: str,
        path: Path,
        error: BaseException | str,
        *,
        logged: bool = True,
    ) -> None:
        """
        Note a failure. It is logged once for each *event* and *path*.

        Args:
            kind: The label value under which it is counted. None: do not count it.
            event: The name of the log event.
            path: The file or directory, for the log.
            error: The reason, for the log.
            logged: Whether this process logs it. Otherwise it is only counted.
        """
        if kind is not None:
            self._uncounted.append(kind)
        if not logged:
            return
        if (event, str(path)) not in self._seen and len(self._seen) < _LOGGED_AT_MOST:
            self._seen.add((event, str(path)))
            self._unlogged.append((event, {"path": str(path), "error": str(error)}))

    def uncounted(self) -> list[str]:
        """Return the kind of each failure noted since the last call."""
        kinds = []
        while self._uncounted:
            kinds.append(self._uncounted.popleft())
        return kinds

    def log(self) -> None:
        """Log new failures. Never call it under a lock that a log handler may take."""
        if getattr(self._logging, "active", False):
            return  # called by a log handler that counts the line being logged
        self._logging.active = True
        try:
            while self._unlogged:
                event, extra = self._unlogged.popleft()
                log.error(event, extra=extra)
        except Exception:  # noqa: S110 — a failing log must not fail the caller
            pass
        finally:
            self._logging.active = False

    def forget(self) -> None:
        """Forget all failures, as a forked child does with those of its parent."""
        self._uncounted.clear()
        self._unlogged.clear()
        self._seen.clear()
