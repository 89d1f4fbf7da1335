"""Configures the log of a process: structlog, standard logging, warnings, uncaught exceptions."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Set

import structlog

from atom_platform.logs.capture import (
    capture_streams,
    install_exception_hooks,
    release_streams,
    remove_exception_hooks,
)
from atom_platform.logs.console import render_for_terminal
from atom_platform.logs.encode import encode_line
from atom_platform.logs.logger import PROCESSORS, BoundLogger, make_stdlib_logger
from atom_platform.logs.records import HANDLER, LOG_OUTPUT
from atom_platform.logs.writer import Writer

__all__ = [
    "capture_output",
    "configure_structlog",
    "override_levels",
    "reset_logging",
    "set_line_counters",
]


class _Configuration:
    """
    What is configured, and what `reset_logging` restores.

    Attributes:
        root_level: The previous level of the root logger; None if nothing is configured.
        removed_handlers: The handlers that were taken off the root logger.
        configured_levels: The level of the root logger, and of others by name.
        level_override: The same, as set by `override_levels`.
        previous_levels: The previous levels of loggers that got one here.
    """

    root_level: int | None = None
    removed_handlers: list[logging.Handler] = []
    configured_levels: tuple[str, Mapping[str, str]] = ("INFO", {})
    level_override: tuple[str | None, Mapping[str, str]] = (None, {})
    previous_levels: dict[str, int] = {}


def configure_structlog(
    *,
    level: str = "INFO",
    levels: Mapping[str, str] | None = None,
    format: str = "json",
    writer: Writer | None = None,
) -> None:
    """
    Write structlog, standard loggers, warnings and uncaught exceptions as lines to standard output.

    Call it once at the start; a second call changes the configuration. The handlers of the root
    logger stay, except for `StreamHandler`s to the standard streams, which would write every line a
    second time.

    Args:
        level: The lowest level that is written.
        levels: Levels of single loggers, by name.
        format: `json`, or `console` for a terminal.
        writer: Where lines go, instead of standard output.
    """
    root = logging.getLogger()
    if _Configuration.root_level is None:
        _Configuration.root_level = root.level
    LOG_OUTPUT.render = render_for_terminal if format == "console" else encode_line
    if writer is not None:
        _replace_writer(writer)
    elif LOG_OUTPUT.writer is None:
        _replace_writer(Writer(1))
    for handler in list(root.handlers):
        if type(handler) is logging.StreamHandler and handler.stream in (sys.stdout, sys.stderr):
            root.removeHandler(handler)
            _Configuration.removed_handlers.append(handler)
    if HANDLER not in root.handlers:
        root.addHandler(HANDLER)
    _Configuration.configured_levels = (level, levels or {})
    _apply_levels()
    structlog.configure(
        processors=PROCESSORS,
        wrapper_class=BoundLogger,
        context_class=dict,
        logger_factory=make_stdlib_logger,
        cache_logger_on_first_use=False,
    )
    install_exception_hooks()


def capture_output() -> None:
    """
    Log what this process prints, as the loggers `stdout` and `stderr`.

    It is for the processes of the service; a script or a test keeps its standard output. What
    native code and child processes write to the descriptors is not captured.
    """
    capture_streams()


def set_line_counters(
    *,
    message: Callable[[str, int], None] | None = None,
    dropped: Callable[[str, int], None] | None = None,
) -> None:
    """
    Count lines: call *message* with a level and a number, *dropped* with a reason and a number.

    The calls come from the thread that writes the lines, shortly after they were logged.
    """
    if LOG_OUTPUT.writer is not None:
        LOG_OUTPUT.writer.on_lines = message
        LOG_OUTPUT.writer.on_drop = dropped


def override_levels(level: str | None, levels: Mapping[str, str]) -> None:
    """Replace the configured levels by *level* and *levels*, until called with None and `{}`."""
    _Configuration.level_override = (level, levels)
    _apply_levels()


def reset_logging() -> None:
    """Undo `configure_structlog` and `capture_output`."""
    release_streams()
    remove_exception_hooks()
    root = logging.getLogger()
    root.removeHandler(HANDLER)
    for handler in _Configuration.removed_handlers:
        root.addHandler(handler)
    _Configuration.removed_handlers = []
    _Configuration.level_override = (None, {})
    _restore_levels(set())
    if _Configuration.root_level is not None:
        root.setLevel(_Configuration.root_level)
        _Configuration.root_level = None
    structlog.reset_defaults()
    LOG_OUTPUT.render = encode_line
    LOG_OUTPUT.on_error = None
    _replace_writer(None)


def _replace_writer(writer: Writer | None) -> None:
    previous, LOG_OUTPUT.writer = LOG_OUTPUT.writer, writer
    if previous is not None and previous is not writer:
        previous.close()


def _apply_levels() -> None:
    (level, levels), (over, others) = (
        _Configuration.configured_levels,
        _Configuration.level_override,
    )
    logging.getLogger().setLevel(over or level)
    wanted = {**levels, **others}
    _restore_levels(wanted.keys())
    for name, each in wanted.items():
        logger = logging.getLogger(name)
        _Configuration.previous_levels.setdefault(name, logger.level)
        logger.setLevel(each)


def _restore_levels(keep: Set[str]) -> None:
    for name in _Configuration.previous_levels.keys() - keep:
        logging.getLogger(name).setLevel(_Configuration.previous_levels.pop(name))
