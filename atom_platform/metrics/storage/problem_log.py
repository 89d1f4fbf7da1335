"""
What went wrong while counting or scraping: counted at once where possible, logged when it is safe.

Storage works under a lock that log handlers, which count their lines, need too. So what it has to
say waits here until somebody without the lock asks for it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from pathlib import Path
from typing import Final

__all__ = ["ProblemLog"]

log = logging.getLogger("atom_platform.metrics")

#: More different ones are counted but no longer logged: a broken disk must not fill the log.
_LOGGED_AT_MOST: Final = 200


class ProblemLog:
    """A queue of problems that is safe under any lock."""

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
        Count one more of *kind*, if any, and have *event* logged unless it was, for *path*.

        Args:
            logged: Whether it is to be logged at all, and not by another process.
        """
        if kind is not None:
            self._uncounted.append(kind)
        if not logged:
            return
        if (event, str(path)) not in self._seen and len(self._seen) < _LOGGED_AT_MOST:
            self._seen.add((event, str(path)))
            self._unlogged.append((event, {"path": str(path), "error": str(error)}))

    def uncounted(self) -> list[str]:
        """Return the kinds noted since the last call."""
        kinds = []
        while self._uncounted:
            kinds.append(self._uncounted.popleft())
        return kinds

    def log(self) -> None:
        """Log what was noted; never call it under a lock that a log handler may want."""
        if getattr(self._logging, "active", False):
            return  # a handler that counts its lines came back here
        self._logging.active = True
        try:
            while self._unlogged:
                event, extra = self._unlogged.popleft()
                log.error(event, extra=extra)
        except Exception:  # noqa: S110 — a log that fails is the log's to report, never the caller's
            pass
        finally:
            self._logging.active = False

    def forget(self) -> None:
        """Start anew: a forked child has not seen what its parent saw."""
        self._uncounted.clear()
        self._unlogged.clear()
        self._seen.clear()
