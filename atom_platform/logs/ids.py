"""Names for requests: 32 hexadecimal digits that nobody else has."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["new_id"]

# Made many at a time: one call of the system is cheaper than 256 of anything else.
_BATCH: Final = 256
_ready: list[str] = []


def new_id() -> str:
    """Return a new random id, of 128 bits."""
    try:
        return _ready.pop()
    except IndexError:
        made = os.urandom(16 * _BATCH).hex(" ", 16).split()
        last = made.pop()  # ours, whatever another thread takes meanwhile
        _ready.extend(made)
        return last


# A forked process must not give out what its parent gives out too.
os.register_at_fork(after_in_child=_ready.clear)
