"""
Log levels of a running service, changed in all its processes without a restart.

The levels are in a file, which each process reads about once a second. There is no endpoint: only a
user who may write to the service's own directory can change its levels.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from atom_platform.logs.config import override_levels
from atom_platform.logs.logger import get_logger
from atom_platform.logs.records import LOG_OUTPUT

__all__ = ["Levels", "LevelsFile", "watch_levels"]

_NAMES: Final = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})
_MAX_BYTES: Final = 64 * 1024

_LOGGER: Final = "atom_platform.logs"

log = get_logger(_LOGGER)


@dataclass(frozen=True, slots=True)
class Levels:
    """
    Levels that replace those that the service was started with.

    Attributes:
        level: The level of the root logger; None does not change it.
        loggers: Levels of single loggers, by name.
        until: When they end, in seconds since the Unix epoch; None means that they do not end.
    """

    level: str | None = None
    loggers: Mapping[str, str] = field(default_factory=dict)
    until: float | None = None


class LevelsFile:
    """
    The file with the levels.

    Args:
        path: The file. Without it no level is changed.
        clock: Returns seconds since the Unix epoch.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._fingerprint: tuple[int, ...] | None = None
        self._last_error = ""
        self._wanted = Levels()
        self._applied = Levels()

    def write(self, levels: Levels) -> None:
        """
        Make all processes log at *levels*.

        Raises:
            ValueError: A level is not one of the five.
            OSError: The file cannot be written.
        """
        if not {levels.level or "INFO", *levels.loggers.values()} <= _NAMES:
            raise ValueError(f"a level is one of {', '.join(sorted(_NAMES))}")
        text = orjson.dumps(
            {"level": levels.level, "loggers": dict(levels.loggers), "until": levels.until}
        )
        # Written under another name and renamed, so that no process reads half a file.
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        draft.write_bytes(text)
        draft.replace(self._path)

    def clear(self) -> None:
        """Make all processes log at the levels that they were started with."""
        self._path.unlink(missing_ok=True)

    def poll(self) -> None:
        """Apply the levels of the file if they have changed or ended. Never raises."""
        try:
            self._wanted = self._read()
            self._last_error = ""
        except (OSError, ValueError, TypeError, AttributeError) as error:
            if str(error) != self._last_error:  # once, not every second
                self._last_error = str(error)
                log.warning("log_levels_rejected", path=str(self._path), error=str(error))
        wanted = self._wanted
        if wanted.until is not None and self._clock() >= wanted.until:
            wanted = Levels()
        if wanted != self._applied:
            self._applied = wanted
            # Logged at the levels that let the warning through: the old ones, or else the new ones.
            seen = logging.getLogger(_LOGGER).isEnabledFor(logging.WARNING)
            if seen:
                _log_change(wanted)
            override_levels(wanted.level, wanted.loggers)
            if not seen:
                _log_change(wanted)

    def _read(self) -> Levels:
        """
        Return the levels of the file, which is parsed only if it has changed.

        Raises:
            OSError: It cannot be read.
            ValueError: It is not a file of this user, or not valid.
        """
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            self._fingerprint = None
            return Levels()
        try:
            found = os.fstat(fd)
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen == self._fingerprint:
                return self._wanted
            if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, os.geteuid()):
                raise ValueError("it is not a regular file of this user or root")
            levels = _parse(os.read(fd, _MAX_BYTES))
            self._fingerprint = seen
            return levels
        finally:
            os.close(fd)


def _log_change(levels: Levels) -> None:
    log.warning(
        "log_levels_changed",
        root=levels.level or "as started",
        loggers=dict(levels.loggers),
        pid=os.getpid(),
    )


def _parse(text: bytes) -> Levels:
    found: dict[str, Any] = orjson.loads(text)
    level, loggers, until = found.get("level"), found.get("loggers") or {}, found.get("until")
    if not {level or "INFO", *loggers.values()} <= _NAMES:
        raise ValueError("it names an unknown level")
    return Levels(level, dict(loggers), None if until is None else float(until))


def watch_levels(path: Path) -> LevelsFile:
    """Apply the levels in *path* from now on, in this process and in its forked children."""
    file = LevelsFile(path)
    if LOG_OUTPUT.writer is not None:
        LOG_OUTPUT.writer.on_tick = file.poll
    with contextlib.suppress(Exception):
        file.poll()
    return file
