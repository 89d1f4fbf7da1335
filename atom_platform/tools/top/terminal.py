"""The terminal while `top` has it: another screen, no cursor, keys read as they are pressed."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from types import FrameType

__all__ = ["borrowed", "key_within", "show"]

ENTER = "\x1b[?1049h\x1b[?25l"  # the alternate screen, so that what was there comes back
LEAVE = "\x1b[?25h\x1b[?1049l"


@contextlib.contextmanager
def borrowed() -> Iterator[None]:
    """Take the terminal, and give it back as it was, also at SIGTERM and SIGHUP."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = termios.tcgetattr(sys.stdin) if sys.stdin.isatty() else None
    handlers = {each: signal.signal(each, leave) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        if before is not None:
            tty.setcbreak(sys.stdin)
        _write(ENTER)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        with contextlib.suppress(OSError):  # the session is gone
            _write(LEAVE)
        if before is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def show(lines: Sequence[str]) -> None:
    """Draw *lines* over what was there; clearing the whole screen first would flicker."""
    _write("\x1b[H" + "\x1b[K\r\n".join(lines) + "\x1b[K\x1b[J")


def key_within(seconds: float) -> str:
    """Return the key that is pressed within *seconds*, or nothing."""
    if not sys.stdin.isatty():
        time.sleep(seconds)
        return ""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return os.read(sys.stdin.fileno(), 1).decode("latin-1") if readable else ""


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
