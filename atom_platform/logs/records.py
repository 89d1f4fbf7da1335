"""From a record of the standard library, whoever made it, to a line."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final

from atom_platform.logs.context import bound_fields
from atom_platform.logs.output import OUTPUT, build_line

__all__ = [
    "FIELDS",
    "HANDLER",
    "LineHandler",
    "confess",
    "exception_text",
    "is_heard_by_us_alone",
    "level_name",
    "line_of",
    "text_of",
]

#: The attribute under which a record of ours carries its fields.
FIELDS: Final = "atom_fields"

_LEVELS: Final = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}
#: What every record has, or gets from formatters; everything else on one came through `extra=`.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    FIELDS,
}

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def level_name(number: int, name: str = "") -> str:
    """Return the contract's name of a level: one of five, or that of a library's own level."""
    known = _LEVELS.get(number)
    return known if known is not None else (name or logging.getLevelName(number)).upper()


def exception_text(exc_info: object) -> str | None:
    """
    Return the traceback of *exc_info* as one string; None when there is none.

    Takes what loggers take: an exception, a tuple of three, or something true for the one being
    handled.
    """
    if not exc_info:
        return None
    if isinstance(exc_info, BaseException):
        error: BaseException | None = exc_info
    elif isinstance(exc_info, tuple) and len(exc_info) == 3:
        error = exc_info[1]
    else:
        error = sys.exception()
    if error is None:
        return None
    try:
        return "".join(traceback.format_exception(error)).rstrip("\n")
    except Exception as broken:  # an exception whose own methods raise
        return f"{type(error).__name__} (its traceback cannot be shown: {type(broken).__name__})"


class LineHandler(logging.Handler):
    """Writes records as lines. It needs no lock of its own, and never raises."""

    def createLock(self) -> None:
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        level = level_name(record.levelno, record.levelname)
        try:
            line = line_of(record, level)
        except Exception as error:
            confess(record.name, error)
        else:
            OUTPUT.emit(level, line)

    def handle(self, record: logging.LogRecord) -> bool | logging.LogRecord:  # type: ignore[override]  # 3.12 may return a record
        passed = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return passed


HANDLER: Final = LineHandler()


def is_heard_by_us_alone(logger: logging.Logger) -> bool:
    """
    Whether a record of *logger* would reach `HANDLER` and nobody else.

    Then it need not be made, which is a third of the cost of a line. A test's capture, an error
    tracker or a filter makes this False.
    """
    if logger.filters or logger.disabled:
        return False
    parent = logger.parent
    while parent is not None:
        if logger.handlers or not logger.propagate:
            return False
        logger, parent = parent, parent.parent
    handlers = logger.handlers
    return len(handlers) == 1 and handlers[0] is HANDLER and not HANDLER.filters


def line_of(record: logging.LogRecord, level: str) -> dict[str, Any]:
    """Return *record* as a line; *level* is the contract's name of its level."""
    attributes = record.__dict__
    fields: Mapping[str, Any] | None = attributes.get(FIELDS)
    if fields is None:
        fields = {key: attributes[key] for key in attributes if key not in _OWN}
    event, clumsy = _event_of(record)
    line = build_line(record.created, level, record.name, event, bound_fields(), fields, clumsy)
    text = exception_text(record.exc_info) if record.exc_info else record.exc_text
    if text:
        line["exception"] = text
    if record.stack_info:
        line["stack"] = record.stack_info
    return line


def confess(logger: str, error: Exception) -> None:
    """Say that a line of *logger* could not be made."""
    fields = {"from_logger": str(logger), "error": type(error).__name__}
    line = build_line(time.time(), "ERROR", "atom_platform.logs", "line_not_made", fields)
    OUTPUT.emit("ERROR", line)


def text_of(message: object) -> str:
    """Return *message* as text, whatever it is."""
    try:
        return str(message)
    except Exception:
        return f"<{type(message).__name__} that is no text>"


def _event_of(record: logging.LogRecord) -> tuple[str, Mapping[str, Any]]:
    """Return the message, and its arguments as a field if they do not fit into it."""
    if not record.args:
        return text_of(record.msg), {}
    try:
        return record.getMessage(), {}
    except Exception:
        return text_of(record.msg), {"arguments": record.args}
