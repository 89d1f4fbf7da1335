"""
The private parts of SQLAlchemy that are used, and the proof that they work as they were read.

Read on SQLAlchemy 2.0 and 2.1:

- `QueuePool._max_overflow`: connections beyond `size()`; -1 is no limit. No public method gives it.
- `Pool._creator`: the function that makes a connection the engine's way.
- `Engine.raw_connection` takes every connection from `engine.pool.connect()`. No event says that a
  thread waits for one, so this method is wrapped on the pool of an engine that is watched.

Any other version, or one that fails the proof, is left alone: one WARNING says what is off.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import weakref
from collections.abc import Callable
from typing import Any, Final

import sqlalchemy
from sqlalchemy import Engine, NullPool, Pool, QueuePool, event, exc, make_url
from sqlalchemy.engine.default import DefaultDialect

__all__ = ["count_waiting", "is_proven", "limit_of", "private_pool"]

log = logging.getLogger("atom_platform.database")

READ_VERSIONS: Final = ("2.0", "2.1")

OFF: Final = (
    "db_connections_waiting and db_connections_max stay 0, "
    "and a readiness check's own connection counts as one of the pool"
)


@functools.cache
def is_proven() -> bool:
    """Return whether the private parts may be used; the first call logs it when they may not."""
    try:
        reason = _defect()
    except Exception as error:  # whatever has changed, it must not reach the application
        reason = f"the dry run raised {type(error).__name__}"
    if reason is not None:
        log.warning(
            "sqlalchemy_version_unproven",
            extra={"version": _version(), "reason": reason, "off": OFF},
        )
    return reason is None


def limit_of(pool: QueuePool) -> int:
    """Return the most connections that *pool* opens; 0 when it has no limit or none is known."""
    if not is_proven():
        return 0
    overflow: int = getattr(pool, "_max_overflow", -1)  # a subclass may keep its own
    return 0 if overflow < 0 else pool.size() + overflow


def count_waiting(engine: Engine, change: Callable[[int], object]) -> None:
    """
    Call *change* with +1 when a thread begins to wait for a connection of *engine*, -1 at the end.

    Does nothing for a pool without a queue or a SQLAlchemy that is not proven.

    Args:
        change: Called in the waiting thread; it must not raise.
    """
    if is_proven():
        _count_waiting(engine, change)


def private_pool(engine: Engine) -> Pool:
    """Return a pool of its own that connects the engine's way, for one connection."""
    if is_proven():
        return NullPool(engine.pool._creator)
    return engine.pool.recreate()


def _count_waiting(engine: Engine, change: Callable[[int], object]) -> None:
    """Wrap the pool of *engine*, and the new pool after each `engine.dispose()`."""

    def renewed(disposed: Engine) -> None:
        with contextlib.suppress(Exception):
            _wrap_connect(disposed.pool, change)

    _wrap_connect(engine.pool, change)
    event.listen(engine, "engine_disposed", renewed)


def _wrap_connect(pool: Pool, change: Callable[[int], object]) -> None:
    """Count the waits of `pool.connect()`, on this pool alone; its class stays as it is."""
    if not isinstance(pool, QueuePool):
        return
    owner = weakref.ref(pool)  # a cycle would keep open connections until the next collection
    inner = vars(pool).get("connect")  # another library's wrapper

    def connect() -> Any:
        current: Any = owner()
        call = inner or functools.partial(type(current).connect, current)
        if not _is_full(current):
            return call()
        change(+1)
        try:
            return call()
        finally:
            change(-1)

    pool.connect = connect  # type: ignore[method-assign]  # no event says that a thread waits


def _is_full(pool: QueuePool) -> bool:
    """Whether the next `pool.connect()` has to wait; False when that cannot be read."""
    try:
        return -1 < pool._max_overflow <= pool.checkedout() - pool.size()
    except Exception:  # a pool whose parts another library has replaced
        return False


class _NoConnectionError(Exception):
    """Raised by the dry run in place of a connection."""


def _defect() -> str | None:
    """Return what differs from the versions read, None when nothing does; opens no connection."""
    if not any(_version().startswith(f"{each}.") for each in READ_VERSIONS):
        return f"read on {' and '.join(READ_VERSIONS)} only"
    waits: list[int] = []
    refused = False

    def creator() -> Any:
        # The only place is taken while this runs. So the pool is full, and no listener of the
        # application's ever sees a connection.
        nonlocal refused
        try:
            engine.raw_connection()
        except exc.TimeoutError:
            refused = True
        raise _NoConnectionError

    pool = QueuePool(creator, pool_size=1, max_overflow=0, timeout=0)
    engine = Engine(pool, DefaultDialect(), make_url("sqlite://"))
    _count_waiting(engine, waits.append)
    with contextlib.suppress(_NoConnectionError):
        engine.raw_connection()
    if not refused or waits != [+1, -1]:
        return "a thread that waits for a connection is not seen"
    limits = [
        each._max_overflow
        for each in (pool, QueuePool(creator, max_overflow=3), QueuePool(creator, pool_size=0))
    ]
    if limits != [0, 3, -1]:
        return "the limit of a pool is unknown"
    if pool._creator is not creator:
        return "the function that connects is unknown"
    return None


def _version() -> str:
    return str(getattr(sqlalchemy, "__version__", "unknown"))
