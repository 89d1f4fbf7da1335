"""
Who takes the next connection: a worker whose threads are all busy leaves it to a free sibling.

All workers wait on one listener and cannot know what a connection will ask for before they have
taken it. So a busy worker looks away for a moment when somebody knocks, as long as a free sibling
is seen to answer the door. When none does (it hangs, or was stopped), the busy one takes the
connection after all, because it may be a probe.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from atom_platform.server.board import BOARD

__all__ = ["ASIDE_SECONDS", "Turnstile"]

#: Long enough for a sibling to wake and accept, short against liveness's 10 ms.
ASIDE_SECONDS: Final = 0.004

#: A sibling may be slow to wake on a crowded machine. Waiting so long costs a probe little; taking
#: an ordinary request too early costs it the whole time that a thread here is still busy.
PATIENCE_SECONDS: Final = 0.05


class Turnstile:
    """
    One worker's place at the listener.

    Args:
        seat: The worker's on the board; None for one started without our hooks, which then takes
            whatever comes.
    """

    def __init__(self, seat: int | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seat = seat
        self._clock = clock
        self._left_at: float | None = None

    def beat(self) -> None:
        """Show the siblings that this worker's accept loop is running."""
        if self._seat is not None:
            BOARD.beat(self._seat)

    def say_free(self, free: bool) -> None:
        """Tell the siblings whether this worker has a thread to spare."""
        if self._seat is not None:
            BOARD.say_free(self._seat, free)

    def leaves_to_sibling(self) -> bool:
        """Return whether a sibling will take the connection that a busy worker sees waiting."""
        others = [] if self._seat is None else BOARD.others_free(self._seat)
        if not others:
            return False
        now = self._clock()
        if self._left_at is None or BOARD.beaten_since(others, self._left_at):
            self._left_at = now
        return now - self._left_at < PATIENCE_SECONDS
