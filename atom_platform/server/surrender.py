"""
A worker gives itself up, when something in it is broken that only a new process would mend.

It stops as at SIGTERM: what it has accepted is answered first, and the arbiter forks another.
"""

from __future__ import annotations

import logging
import os
import signal

__all__ = ["can_be_replaced", "surrender"]

log = logging.getLogger("atom_platform.server")

_replaceable: int | None = None


def can_be_replaced() -> None:
    """Say that an arbiter watches over this process; before that, `surrender` does nothing."""
    global _replaceable
    _replaceable = os.getpid()


def surrender(reason: str) -> None:
    """
    End this worker, gracefully; a process that nobody would replace goes on as it is.

    Args:
        reason: Why, for the log.
    """
    replaced = _replaceable == os.getpid()
    log.error("worker_surrenders" if replaced else "worker_stays_broken", extra={"reason": reason})
    if replaced:
        os.kill(os.getpid(), signal.SIGTERM)
