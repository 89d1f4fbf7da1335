"""What becomes of the log when its process forks or ends, and who is told of what it does."""

from __future__ import annotations

import atexit
import contextlib
import sys
import weakref
from collections.abc import Callable
from typing import Protocol

from atom_platform.forking import at_fork

__all__ = ["flush_at_end_of_child", "keep_through_forks", "tell"]


class Kept(Protocol):
    """What has lines that must not be lost, or written twice."""

    def forget(self) -> None: ...
    def flush(self, timeout_seconds: float = ...) -> bool: ...
    def close(self) -> None: ...


_kept: weakref.WeakSet[Kept] = weakref.WeakSet()


def keep_through_forks(writer: Kept) -> None:
    """Have *writer* forget its parent's lines in each forked process, and be closed at each end."""
    _kept.add(writer)


def flush_at_end_of_child(writer: Kept) -> None:
    """Processes of `multiprocessing` end without `atexit`; they have a registry of their own."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, writer.flush, exitpriority=0)


def tell(listener: Callable[..., None] | None, *what: object) -> None:
    """Tell *listener*, if there is one; one that fails costs no line and no request."""
    if listener is not None:
        with contextlib.suppress(Exception):
            listener(*what)


def _after_fork() -> None:
    for writer in list(_kept):
        writer.forget()


def _at_exit() -> None:
    for writer in list(_kept):
        writer.close()


at_fork("log_writer", after_in_child=_after_fork)
atexit.register(_at_exit)
