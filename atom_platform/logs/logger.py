"""The logger of application code: structlog's interface with the levels of standard logging."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from typing import Any, Final

import structlog
from structlog.contextvars import get_contextvars
from structlog.typing import EventDict, WrappedLogger

from atom_platform.logs.context import bound_fields
from atom_platform.logs.records import (
    FIELDS,
    LOG_OUTPUT,
    build_line,
    exception_text,
    is_only_handler,
    log_discarded_line,
    message_text,
)

__all__ = ["PROCESSORS", "BoundLogger", "get_logger", "make_stdlib_logger"]


def _merge_structlog_context(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Add the fields that other code bound with structlog's own `contextvars` module."""
    bound = get_contextvars()
    return {**bound, **event} if bound else event


def _write_or_make_record(
    logger: WrappedLogger, method: str, event: EventDict
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """
    Write the line at once if `HANDLER` is the only handler; return a `LogRecord` otherwise.

    The record then goes to all handlers. As the last processor it returns the arguments of the next
    call as structlog wants them: none after the line is written.
    """
    message = event.pop("event", "")
    exc_info = event.pop("exc_info", None)
    stack = event.pop("stack_info", None)
    if stack:
        stack = "".join(traceback.format_stack()).rstrip()
    if exc_info and not isinstance(exc_info, (tuple, BaseException)):
        exc_info = sys.exception()
    if is_only_handler(logger):
        if type(message) is not str:
            message = message_text(message)
        level = method.upper()
        line = build_line(time.time(), level, logger.name, message, bound_fields(), event)
        if exc_info and (text := exception_text(exc_info)):
            line["exception"] = text
        if stack:
            line["stack"] = stack
        LOG_OUTPUT.emit(level, line)
        return (), {}
    if isinstance(exc_info, BaseException):
        exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
    level_number = _LEVELS[method]
    record = logging.LogRecord(
        logger.name, level_number, "", 0, message, None, exc_info, None, stack or None
    )
    setattr(record, FIELDS, event)
    return (record,), {}


_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_METHODS: Final = {number: name for name, number in _LEVELS.items()}

#: One list for all loggers, never replaced: `structlog.testing.capture_logs` changes it in place.
PROCESSORS: Final[list[Any]] = [_merge_structlog_context, _write_or_make_record]


class BoundLogger(structlog.BoundLoggerBase):
    """
    A logger with fields bound to it: `log.info("agent_finished", agent_id=…)`.

    It has the level of the standard logger of the same name, which may change while the service
    runs. Logging never raises. If the placeholders of an event do not match its arguments, the
    event is logged as it is, with the field `arguments`.
    """

    _logger: logging.Logger

    @property
    def name(self) -> str:
        """The name of the logger, the field `logger` of its lines."""
        return self._logger.name

    def isEnabledFor(self, level: int) -> bool:
        """Return whether a line of *level* would be written."""
        return self._logger.isEnabledFor(level)

    def debug(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log *event* at DEBUG."""
        if self._logger.isEnabledFor(10):
            self._log("debug", event, args, fields)

    def info(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log *event* at INFO."""
        if self._logger.isEnabledFor(20):
            self._log("info", event, args, fields)

    def warning(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log *event* at WARNING."""
        if self._logger.isEnabledFor(30):
            self._log("warning", event, args, fields)

    warn = warning

    def error(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log *event* at ERROR."""
        if self._logger.isEnabledFor(40):
            self._log("error", event, args, fields)

    def critical(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log *event* at CRITICAL."""
        if self._logger.isEnabledFor(50):
            self._log("critical", event, args, fields)

    fatal = critical

    def exception(self, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log *event* at ERROR with the traceback of the exception being handled."""
        if self._logger.isEnabledFor(40):
            fields.setdefault("exc_info", True)
            self._log("error", event, args, fields)

    def log(self, level: int, event: Any = None, /, *args: Any, **fields: Any) -> None:
        """Log *event* at the highest of the five levels that is not above *level*."""
        if self._logger.isEnabledFor(level):
            method = _METHODS[min(50, max(10, level // 10 * 10))]
            self._log(method, event, args, fields)

    def _log(self, method: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
        if args:
            try:
                event = event % (
                    args[0] if len(args) == 1 and isinstance(args[0], dict) and args[0] else args
                )
            except Exception:
                fields["arguments"] = args
        if "event" in fields:
            fields["event_"] = fields.pop("event")
        try:
            handed, _ = self._process_event(method, "" if event is None else event, fields)
            if handed:
                self._logger.handle(*handed)
        except structlog.DropEvent:
            return
        except Exception as error:
            log_discarded_line(self._logger.name, error)


def make_stdlib_logger(*args: Any) -> logging.Logger:
    """Return the standard library's logger that `structlog.get_logger(*args)` wraps."""
    return logging.getLogger(str(args[0]) if args else None)


def get_logger(name: str | None = None, **fields: Any) -> BoundLogger:
    """
    Return the logger called *name*, with *fields* bound.

    It may be created before the configuration, at the top of a module: it looks levels and output
    up when it logs.
    """
    return BoundLogger(logging.getLogger(name), PROCESSORS, dict(fields))
