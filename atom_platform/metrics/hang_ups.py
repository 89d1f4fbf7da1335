"""Clients that hang up on an answer that has been handed over: who notices, and that it is one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, Protocol

from atom_platform.metrics.http_metrics import count_aborted

__all__ = ["ENDS_BY_ITSELF", "SERVER", "note_late_hang_up", "told_of_hang_ups"]

#: In the environment of a request whose body notices by its close that the client hung up.
ENDS_BY_ITSELF: Final = "atom.ends_by_itself"


class AbortCounter(Protocol):
    """What counts answers that were cut off."""

    def count_aborted(self, reason: str) -> None: ...


def note_late_hang_up(counter: AbortCounter) -> None:
    """Count a client that hung up when it had been sent the last piece; its line is written."""
    if isinstance(sys.exception(), OSError):
        counter.count_aborted("disconnect")


class Server:
    """
    What runs this process.

    Attributes:
        tells: Whether it calls what `told_of_hang_ups` returned; else bodies notice by themselves.
    """

    __slots__ = ("tells",)

    def __init__(self) -> None:
        self.tells = False


SERVER: Final = Server()


def told_of_hang_ups() -> Callable[[dict[str, Any]], None]:
    """
    Have the server tell of clients that hang up, and return what it has to call.

    While it handles the error, with the environment of the request, whoever answered it.
    """
    SERVER.tells = True
    return _hung_up


def _hung_up(environ: dict[str, Any]) -> None:
    observed = "atom.request_id" in environ and ENDS_BY_ITSELF not in environ
    if observed and isinstance(sys.exception(), OSError):
        count_aborted("disconnect")
