"""Log lines for what a program prints, for warnings, and for exceptions that nobody caught."""

from __future__ import annotations

import atexit
import io
import logging
import sys
import threading
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TextIO

from atom_platform.logs.logger import get_logger
from atom_platform.logs.records import LOG_OUTPUT

__all__ = [
    "LogStream",
    "capture_streams",
    "install_exception_hooks",
    "release_streams",
    "remove_exception_hooks",
]

#: A longer line is cut into pieces of this many characters.
_MAX_LINE_CHARACTERS: Final = 64 * 1024
_TRACEBACK: Final = "Traceback (most recent call last):"


class LogStream(io.TextIOBase):
    """
    A text stream whose lines become log lines.

    A printed traceback becomes one line; each traceback of a chain is one. Each thread has an
    incomplete line of its own, so that the output of two threads is not mixed.

    Args:
        stream: The stream that this one replaces. It gives the file descriptor.
        log: Called with a format and the line, such as `logging.getLogger("stdout").info`.
    """

    def __init__(self, stream: TextIO, log: Callable[..., None]) -> None:
        self._stream = stream  # a file object closes its descriptor when it is collected
        self._log = log
        self._local = threading.local()
        self.buffer = _ByteStream(self)

    encoding = "utf-8"
    errors = "backslashreplace"

    @property
    def original(self) -> TextIO:
        """The stream that this one replaces."""
        return self._stream

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        text = str(text)
        local = self._local.__dict__
        pending = local.get("pending", "") + text
        if "\n" not in text and len(pending) < _MAX_LINE_CHARACTERS:
            local["pending"] = pending
            return len(text)
        *lines, rest = pending.split("\n")
        if len(rest) >= _MAX_LINE_CHARACTERS:
            lines.append(rest)
            rest = ""
        local["pending"] = rest
        for line in lines:
            self._handle_line(line, local)
        return len(text)

    def flush_partial_line(self) -> None:
        """Log what this thread has printed without a newline."""
        local = self._local.__dict__
        rest, local["pending"] = local.get("pending", ""), ""
        if rest:
            self._handle_line(rest, local)
        self._end_traceback(local)

    def _handle_line(self, line: str, local: dict[str, Any]) -> None:
        """
        Log *line*, or keep it if it belongs to a traceback.

        A traceback ends with its first line that is not indented, such as `KeyError: 'x'`.
        """
        trace: list[str] | None = local.get("trace")
        if trace is not None:
            trace.append(line)
            if line and not line.startswith(" "):
                self._end_traceback(local)
        elif line.startswith(_TRACEBACK):
            local["trace"] = [line]
        elif line.strip():
            self._emit(line.rstrip("\r"))

    def _end_traceback(self, local: dict[str, Any]) -> None:
        trace = local.pop("trace", None)
        if trace:
            self._emit(trace[-1], exception="\n".join(trace))

    def _emit(self, event: str, **extra: str) -> None:
        local = self._local.__dict__
        if local.get("logging"):  # a handler, or an error in logging, printed something
            return
        local["logging"] = True
        try:
            self._log("%s", event, extra=extra)
        finally:
            local["logging"] = False


class _ByteStream(io.RawIOBase):
    """The `buffer` of a `LogStream`: bytes written to it become log lines too."""

    def __init__(self, text: LogStream) -> None:
        self._text = text

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._text.fileno()

    def write(self, data: Any) -> int:
        data = bytes(data)
        self._text.write(data.decode("utf-8", "backslashreplace"))
        return len(data)


def capture_streams() -> None:
    """Replace `sys.stdout` and `sys.stderr` by log streams, unless they are log streams already."""
    atexit.unregister(release_streams)
    atexit.register(release_streams)  # logs what was printed without a newline
    if not isinstance(sys.stdout, LogStream) and sys.stdout is not None:
        sys.stdout = LogStream(sys.stdout, logging.getLogger("stdout").info)
    if not isinstance(sys.stderr, LogStream) and sys.stderr is not None:
        sys.stderr = LogStream(sys.stderr, logging.getLogger("stderr").warning)


def release_streams() -> None:
    """Restore the original streams."""
    if isinstance(sys.stdout, LogStream):
        sys.stdout.flush_partial_line()
        sys.stdout = sys.stdout.original
    if isinstance(sys.stderr, LogStream):
        sys.stderr.flush_partial_line()
        sys.stderr = sys.stderr.original


_crashes: Final = get_logger("atom_platform.crash")
_warnings: Final = get_logger("py.warnings")

_replaced_hooks: list[tuple[object, str, Any]] = []


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if file is not None:  # the caller wants it in a file
        file.write(warnings.formatwarning(message, category, filename, lineno, line))
        return
    _warnings.warning(str(message), category=category.__name__, file=filename, line=lineno)


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        _crashes.warning("process_interrupted")
    else:
        _crashes.critical("uncaught_exception", exc_info=error.with_traceback(trace))
    if LOG_OUTPUT.writer is not None:
        LOG_OUTPUT.writer.flush()


def _uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is None or issubclass(found.exc_type, SystemExit):
        return
    _crashes.critical(
        "uncaught_exception_in_thread",
        thread=found.thread.name if found.thread else "",
        exc_info=found.exc_value,
    )


def _unraisable(found: Any) -> None:
    if _is_end_of_thread_before_gevent(found):
        return
    _crashes.error(
        "unraisable_exception",
        doing=found.err_msg or "",
        object=_name_of(found.object),
        exc_info=found.exc_value,
    )


def _is_end_of_thread_before_gevent(found: Any) -> bool:
    """
    Tell whether *found* reports the end of a thread that is older than gevent's patches.

    `threading` then looks for the thread among greenlets and fails. The log writer is such a thread
    under gunicorn, which logs before it patches. It stays a real thread, so that a slow reader of
    the output does not block gevent's loop.
    """
    return (
        "gevent" in sys.modules
        and isinstance(found.exc_value, KeyError)
        and _name_of(found.object) == "Thread._bootstrap"
    )


def _name_of(thing: object) -> str:
    """Return the name of *thing* or its class; the repr of a half finalized object may fail."""
    return str(getattr(thing, "__qualname__", type(thing).__qualname__))


def install_exception_hooks() -> None:
    """Log warnings and uncaught exceptions, in place of the current hooks."""
    remove_exception_hooks()
    _replace(warnings, "showwarning", _show_warning)
    _replace(sys, "excepthook", _uncaught)
    _replace(threading, "excepthook", _uncaught_in_thread)
    _replace(sys, "unraisablehook", _unraisable)


def remove_exception_hooks() -> None:
    """Restore the previous hooks, except where ours was replaced since."""
    while _replaced_hooks:
        owner, name, previous = _replaced_hooks.pop()
        if getattr(owner, name) in _OUR_HOOKS:
            setattr(owner, name, previous)


def _replace(owner: object, name: str, hook: Callable[..., Any]) -> None:
    _replaced_hooks.append((owner, name, getattr(owner, name)))
    setattr(owner, name, hook)


_OUR_HOOKS: Final = (_show_warning, _uncaught, _uncaught_in_thread, _unraisable)
