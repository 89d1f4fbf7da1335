"""
What Python itself writes, as log lines: printed text, warnings and uncaught exceptions.
"""

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

#: A line that never ends is cut into pieces of this many characters.
_MAX_LINE_CHARACTERS: Final = 64 * 1024
_TRACEBACK: Final = "Traceback (most recent call last):"


class LogStream(io.TextIOBase):
    """
    A text stream whose lines become log lines; a printed traceback becomes one line (a chain of
    them one each).

    Each thread has its own unfinished line, so that two threads that print do not mix.
    """

    def __init__(self, stream: TextIO, log: Callable[..., None]) -> None:
        self._stream = stream  # kept: a file object that is collected closes its descriptor
        self._log = log
        self._local = threading.local()
        self.buffer = _ByteStream(self)

    encoding = "utf-8"
    errors = "backslashreplace"

    @property
    def original(self) -> TextIO:
        """The stream this one stands in for."""
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
        """Log what this thread printed without ending the line."""
        local = self._local.__dict__
        rest, local["pending"] = local.get("pending", ""), ""
        if rest:
            self._handle_line(rest, local)
        self._end_traceback(local)

    def _handle_line(self, line: str, local: dict[str, Any]) -> None:
        trace: list[str] | None = local.get("trace")
        if trace is not None:
            trace.append(line)
            # Its last line is the first one that is not indented: "KeyError: 'x'".
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
        if local.get("logging"):  # the log itself printed something
            return
        local["logging"] = True
        try:
            self._log("%s", event, extra=extra)
        finally:
            local["logging"] = False


class _ByteStream(io.RawIOBase):
    """`sys.stdout.buffer` of a captured stream."""

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
    """Replace `sys.stdout` and `sys.stderr`; again, do nothing."""
    atexit.unregister(release_streams)
    atexit.register(release_streams)  # for what was printed without ending the line
    if not isinstance(sys.stdout, LogStream) and sys.stdout is not None:
        sys.stdout = LogStream(sys.stdout, logging.getLogger("stdout").info)
    if not isinstance(sys.stderr, LogStream) and sys.stderr is not None:
        sys.stderr = LogStream(sys.stderr, logging.getLogger("stderr").warning)


def release_streams() -> None:
    """Put the original streams back."""
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
    if file is not None:  # somebody asked for it in a file
        file.write(warnings.formatwarning(message, category, filename, lineno, line))
        return
    _warnings.warning(str(message), category=category.__name__, file=filename, line=lineno)


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        _crashes.warning("interrupted")
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
    Tell whether a thread that is older than gevent's patches has ended.

    threading then looks for it among greenlets. Ours that writes lines is one under gunicorn, which
    speaks before it patches; and being a real thread is what keeps a slow reader off the loop.
    """
    return (
        "gevent" in sys.modules
        and isinstance(found.exc_value, KeyError)
        and _name_of(found.object) == "Thread._bootstrap"
    )


def _name_of(thing: object) -> str:
    """Never its repr: the object is half gone, and keeping it would bring it back."""
    return str(getattr(thing, "__qualname__", type(thing).__qualname__))


def install_exception_hooks() -> None:
    """Send warnings and uncaught exceptions to the log."""
    remove_exception_hooks()
    _replace(warnings, "showwarning", _show_warning)
    _replace(sys, "excepthook", _uncaught)
    _replace(threading, "excepthook", _uncaught_in_thread)
    _replace(sys, "unraisablehook", _unraisable)


def remove_exception_hooks() -> None:
    """Put back what was there, unless somebody else has replaced ours since."""
    while _replaced_hooks:
        owner, name, previous = _replaced_hooks.pop()
        if getattr(owner, name) in _OUR_HOOKS:
            setattr(owner, name, previous)


def _replace(owner: object, name: str, hook: Callable[..., Any]) -> None:
    _replaced_hooks.append((owner, name, getattr(owner, name)))
    setattr(owner, name, hook)


_OUR_HOOKS: Final = (_show_warning, _uncaught, _uncaught_in_thread, _unraisable)
