"""
No signal is lost between a worker's fork and its own signal handlers.

A child is born with the arbiter's handlers, which put the number into a queue that only the arbiter
reads. A SIGTERM that arrives then, as at a reload or a stop while workers boot, would be forgotten,
and the arbiter would wait for that worker until the graceful timeout.
"""

from __future__ import annotations

import signal
from typing import Final

from atom_platform.forking import at_fork

__all__ = ["hold_signals", "release_signals"]

HELD: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

_held = False


def hold_signals() -> None:
    """Keep signals waiting from now, before the fork; the parent gets them again by itself."""
    global _held
    _held = True
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)


def release_signals() -> None:
    """Deliver what was held; the child calls this once it no longer has the parent's handlers."""
    global _held
    if _held:
        _held = False
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)


at_fork("signals", after_in_parent=release_signals)
