"""
Log lines: how one is made of fields or of a `logging.LogRecord`, and where it goes.

`LOG_OUTPUT` is the end of the pipeline in each process. `HANDLER` connects standard logging to it.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final

from atom_platform.logs.context import bound_fields
from atom_platform.logs.encode import encode_line
from atom_platform.logs.writer import Writer
from atom_platform.timestamps import rfc3339
from atom_platform.trace_context import active_span

__all__ = [
    "FIELDS",
    "HANDLER",
    "LOG_OUTPUT",
    "RESERVED",
    "LineHandler",
    "LogOutput",
    "build_line",
    "exception_text",
    "is_only_handler",
    "level_name",
    "line_from_record",
    "log_discarded_line",
    "message_text",
]

#: The keys at the start of every line; a field of the same name gets a trailing underscore.
RESERVED: Final = frozenset({"timestamp", "level", "logger", "event"})

_SEVERE: Final = frozenset({"ERROR", "CRITICAL"})


def build_line(
    created: float, level: str, logger: str, event: str, *groups: Mapping[str, Any]
) -> dict[str, Any]:
    """
    Return a line: the four reserved keys, the *groups* of fields, and the ids of an active span.

    Args:
        created: Seconds since the Unix epoch.
        groups: In their order in the line. A later group replaces fields of an earlier one.
    """
    line: dict[str, Any] = {
        "timestamp": rfc3339(created),
        "level": level,
        "logger": logger,
        "event": event,
    }
    for fields in groups:
        if fields:
            if not RESERVED.isdisjoint(fields):
                fields = {f"{key}_" if key in RESERVED else key: fields[key] for key in fields}
            line.update(fields)
    span = active_span()
    if span is not None:
        line["trace_id"], line["span_id"] = span.trace_id, span.span_id
    return line


class LogOutput:
    """
    The end of the pipeline: a renderer and a writer.

    Each process has one, `LOG_OUTPUT`, because it has one standard output. Nothing in it raises.

    Attributes:
        on_error: Called with each line at ERROR or above, before secrets are removed. It must not
            raise.
        render: Returns the bytes of a line.
        writer: Writes the bytes; None before `configure_structlog`.
    """

    __slots__ = ("on_error", "render", "writer")

    def __init__(self) -> None:
        self.on_error: Callable[[Mapping[str, Any]], None] | None = None
        self.writer: Writer | None = None
        self.render: Callable[[dict[str, Any]], bytes] = encode_line

    def emit(self, level: str, line: dict[str, Any]) -> None:
        """Write *line*, which has the level *level*; without a writer, do nothing."""
        if self.on_error is not None and level in _SEVERE:
            self.on_error(line)
        if self.writer is not None:
            self.writer.write(self.render(line), level)

    def describe_loss(self, lines: int) -> bytes:
        """Return the line that tells that *lines* lines before it were lost."""
        return self.render(
            build_line(
                time.time(),
                "WARNING",
                "atom_platform.logs",
                "log_lines_dropped",
                {"lines": lines, "pid": os.getpid()},
            )
        )


LOG_OUTPUT: Final = LogOutput()


#: The attribute of a `LogRecord` that holds the fields of a line logged by `get_logger`.
FIELDS: Final = "atom_fields"

_LEVELS: Final = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}
#: Attributes of every `LogRecord`, or set by formatters. Any other one came through `extra=`.
_STANDARD_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    FIELDS,
}

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def level_name(number: int, name: str = "") -> str:
    """Return the name of a level in our lines: one of five, or that of a library's own level."""
    known = _LEVELS.get(number)
    return known if known is not None else (name or logging.getLevelName(number)).upper()


def exception_text(exc_info: object) -> str | None:
    """
    Return the traceback of *exc_info* as one string; None if there is none.

    Args:
        exc_info: As loggers take it: an exception, a tuple of three, or another true value for the
            exception that is being handled.
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
    except Exception as broken:  # methods of the exception raise
        return f"{type(error).__name__} (its traceback cannot be shown: {type(broken).__name__})"


class LineHandler(logging.Handler):
    """Writes records as lines. It takes no lock and never raises."""

    def createLock(self) -> None:
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        level = level_name(record.levelno, record.levelname)
        try:
            line = line_from_record(record, level)
        except Exception as error:
            log_discarded_line(record.name, error)
        else:
            LOG_OUTPUT.emit(level, line)

    def handle(self, record: logging.LogRecord) -> bool | logging.LogRecord:  # type: ignore[override]  # 3.12 may return a record
        passed = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return passed


HANDLER: Final = LineHandler()


def is_only_handler(logger: logging.Logger) -> bool:
    """
    Return whether a record of *logger* would reach `HANDLER` and no other handler or filter.

    Then no record has to be made, which saves a third of the cost of a line. The log capture of a
    test, an error tracker or a filter makes this False.
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


def line_from_record(record: logging.LogRecord, level: str) -> dict[str, Any]:
    """Return *record* as a line; *level* is the result of `level_name`."""
    attributes = record.__dict__
    fields: Mapping[str, Any] | None = attributes.get(FIELDS)
    if fields is None:
        fields = {key: attributes[key] for key in attributes if key not in _STANDARD_ATTRIBUTES}
    event, clumsy = _event_and_arguments(record)
    line = build_line(record.created, level, record.name, event, bound_fields(), fields, clumsy)
    text = exception_text(record.exc_info) if record.exc_info else record.exc_text
    if text:
        line["exception"] = text
    if record.stack_info:
        line["stack"] = record.stack_info
    return line


def log_discarded_line(logger: str, error: Exception) -> None:
    """Log that *error* prevented a line of *logger*."""
    fields = {"from_logger": str(logger), "error": type(error).__name__}
    line = build_line(time.time(), "ERROR", "atom_platform.logs", "log_line_discarded", fields)
    LOG_OUTPUT.emit("ERROR", line)


def message_text(message: object) -> str:
    """Return *message* as text. Never raises."""
    try:
        return str(message)
    except Exception:
        return f"<{type(message).__name__} without a text>"


def _event_and_arguments(record: logging.LogRecord) -> tuple[str, Mapping[str, Any]]:
    """Return the message; with its arguments as a field if they do not match its placeholders."""
    if not record.args:
        return message_text(record.msg), {}
    try:
        return record.getMessage(), {}
    except Exception:
        return message_text(record.msg), {"arguments": record.args}
