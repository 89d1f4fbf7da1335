"""What Python itself reports: warnings, and exceptions that nobody caught."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TextIO

from atom_platform.logs.bound import get_logger
from atom_platform.logs.output import OUTPUT

__all__ = ["install_hooks", "remove_hooks"]

_crashes: Final = get_logger("atom_platform.crash")
_warnings: Final = get_logger("py.warnings")

_before: list[tuple[object, str, Any]] = []


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
    if OUTPUT.writer is not None:
        OUTPUT.writer.flush()


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


def install_hooks() -> None:
    """Send warnings and uncaught exceptions to the log."""
    remove_hooks()
    _replace(warnings, "showwarning", _show_warning)
    _replace(sys, "excepthook", _uncaught)
    _replace(threading, "excepthook", _uncaught_in_thread)
    _replace(sys, "unraisablehook", _unraisable)


def remove_hooks() -> None:
    """Put back what was there, unless somebody else has replaced ours since."""
    while _before:
        owner, name, previous = _before.pop()
        if getattr(owner, name) in _OURS:
            setattr(owner, name, previous)


def _replace(owner: object, name: str, hook: Callable[..., Any]) -> None:
    _before.append((owner, name, getattr(owner, name)))
    setattr(owner, name, hook)


_OURS: Final = (_show_warning, _uncaught, _uncaught_in_thread, _unraisable)
