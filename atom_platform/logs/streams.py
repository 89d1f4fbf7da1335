"""Standard output and standard error as loggers, for code that prints."""

from __future__ import annotations

import atexit
import io
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, TextIO

__all__ = ["LogStream", "capture_streams", "release_streams"]

#: A line that never ends is cut into pieces of this many characters.
_LONGEST: Final = 64 * 1024
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
        if "\n" not in text and len(pending) < _LONGEST:
            local["pending"] = pending
            return len(text)
        *lines, rest = pending.split("\n")
        if len(rest) >= _LONGEST:
            lines.append(rest)
            rest = ""
        local["pending"] = rest
        for line in lines:
            self._line(line, local)
        return len(text)

    def finish(self) -> None:
        """Log what this thread printed without ending the line."""
        local = self._local.__dict__
        rest, local["pending"] = local.get("pending", ""), ""
        if rest:
            self._line(rest, local)
        self._end_traceback(local)

    def _line(self, line: str, local: dict[str, Any]) -> None:
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
        sys.stdout.finish()
        sys.stdout = sys.stdout.original
    if isinstance(sys.stderr, LogStream):
        sys.stderr.finish()
        sys.stderr = sys.stderr.original
