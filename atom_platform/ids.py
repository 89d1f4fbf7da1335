"""Request ids: how a new one is made, and which ones of a client are accepted."""

from __future__ import annotations

import os
import re
from typing import Final

from atom_platform.forking import at_fork

__all__ = ["is_request_id", "new_id"]

# One system call makes a batch: 256 small calls cost far more.
_BATCH: Final = 256
_unused: list[str] = []

_match: Final = re.compile(r"[A-Za-z0-9._-]{1,128}").fullmatch


def new_id() -> str:
    """Return a new random id: 32 hexadecimal digits, 128 bits."""
    try:
        return _unused.pop()
    except IndexError:
        batch = os.urandom(16 * _BATCH).hex(" ", 16).split()
        last = batch.pop()  # taken first: another thread may empty `_unused` in the meantime
        _unused.extend(batch)
        return last


def is_request_id(text: str) -> bool:
    """Return whether *text* may be used as a request id: 1 to 128 of `A-Z a-z 0-9 . _ -`."""
    return _match(text) is not None


# A child would hand out the same ids as its parent.
at_fork("request_ids", after_in_child=_unused.clear)
