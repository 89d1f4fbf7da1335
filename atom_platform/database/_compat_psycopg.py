"""
The private parts of psycopg that are used, and the proof that they work as they were read.

Read on psycopg 3.3:

- `Connection.wait(gen, interval, timeout)` runs every round trip of a connection.
- `errors._WaitTimeout` is what it raises after *timeout* seconds; the round trip may go on.

Any other version, or one that fails the proof, keeps psycopg's own waiting: one WARNING says that
only the server's `statement_timeout` ends a statement then.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
from collections.abc import Generator
from typing import Any, Final

import psycopg
from psycopg import errors, waiting

__all__ = ["WaitTimeout", "is_proven"]

log = logging.getLogger("atom_platform.database")

READ_VERSIONS: Final = ("3.3",)

OFF: Final = "only the server ends an overdue statement; a silent server holds its thread"


class _NeverRaisedError(psycopg.OperationalError):
    """Stands for an exception that this psycopg does not have."""


WaitTimeout: Final[type[psycopg.Error]] = getattr(errors, "_WaitTimeout", _NeverRaisedError)
"""What `Connection.wait` raises when its timeout is over."""


@functools.cache
def is_proven() -> bool:
    """Return whether waits can be bounded; the first call logs it when they cannot."""
    try:
        reason = _defect()
    except Exception as error:  # whatever has changed, the application must still connect
        reason = f"the dry run raised {type(error).__name__}"
    if reason is not None:
        log.warning(
            "psycopg_version_unproven",
            extra={"version": psycopg.__version__, "reason": reason, "off": OFF},
        )
    return reason is None


def _defect() -> str | None:
    """Return what differs from the versions read, None when nothing does."""
    if not any(psycopg.__version__.startswith(f"{each}.") for each in READ_VERSIONS):
        return f"read on {' and '.join(READ_VERSIONS)} only"
    if list(inspect.signature(psycopg.Connection.wait).parameters) != [
        "self",
        "gen",
        "interval",
        "timeout",
    ]:
        return "Connection.wait takes other arguments"
    silent, other_end = os.pipe()
    try:
        waiting.wait(_wait_for_input(), silent, 0.001, 0.001)
    except WaitTimeout:
        return None
    finally:
        os.close(silent)
        os.close(other_end)
    return "a wait does not time out"


def _wait_for_input() -> Generator[Any, Any, None]:
    ready = 0
    while not ready:
        ready = yield waiting.WAIT_R
