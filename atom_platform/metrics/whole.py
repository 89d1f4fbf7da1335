"""The end of a body: what is left to do when the server has read all of it, or gave up."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final, Protocol

from atom_platform.logs.context import CURRENT_SCOPE, NOTHING, Scope

__all__ = ["AbortCounter", "Whole", "close_within", "note_late_hang_up"]

_enter: Final = CURRENT_SCOPE.set
_leave: Final = CURRENT_SCOPE.reset


class AbortCounter(Protocol):
    """What counts answers that were cut off."""

    def count_aborted(self, reason: str) -> None: ...


class Whole(list[bytes]):
    """
    A body in one piece, which the server reads without any more of our code.

    Attributes:
        body: The application's.
        scope: Whose fields the lines of its close carry.
        counter: Told of a client that hung up on the piece.
    """

    __slots__ = ("body", "counter", "scope")

    body: Iterable[bytes]
    scope: Scope
    counter: AbortCounter

    def close(self) -> None:
        """Close the application's body."""
        if sys.exception() is not None:
            note_late_hang_up(self.counter)
        close_within(self.scope, self.body)


def note_late_hang_up(counter: AbortCounter) -> None:
    """Count a client that hung up when it had been sent the last piece; its line is written."""
    if isinstance(sys.exception(), OSError):
        counter.count_aborted("disconnect")


def close_within(scope: Scope, body: Iterable[bytes]) -> None:
    """Close *body*, if it wants to be, with the lines of that carrying the fields of *scope*."""
    close = getattr(body, "close", None)
    if close is None:
        return
    if scope.fields is NOTHING:  # nobody would see the difference
        close()
    else:
        around = _enter(scope)
        try:
            close()
        finally:
            _leave(around)
