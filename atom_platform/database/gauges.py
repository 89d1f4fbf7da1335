"""
How many connections the pools of this process hold: in use, idle, at most, and how many wait.

Counted from the pools' events rather than asked of the pools, which count a place that has lost its
connection as idle.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any, Final

from sqlalchemy import (
    AssertionPool,
    Engine,
    Pool,
    QueuePool,
    SingletonThreadPool,
    StaticPool,
    event,
)

from atom_platform.forking import at_fork
from atom_platform.metrics.instruments import set_db_pool

__all__ = ["watch_pool"]


class _Watched:
    """
    What is known of one engine's pool.

    Attributes:
        open: The places that have a connection. Weak: a disposed pool takes its places with it.
        used: Those of them that are checked out.
        waiting: Threads that wait for a place.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = weakref.ref(engine)
        self.open: weakref.WeakSet[Any] = weakref.WeakSet()
        self.used: weakref.WeakSet[Any] = weakref.WeakSet()
        self.waiting = 0

    def maximum(self) -> int:
        engine = self.engine()
        return 0 if engine is None else _size_of(engine.pool)

    def changed(self, record: Any, *, open_: bool | None = None, used: bool | None = None) -> None:
        with _lock:
            for places, now in ((self.open, open_), (self.used, used)):
                if now is True:
                    places.add(record)
                elif now is False:
                    places.discard(record)
            _publish()

    def wait(self, change: int) -> None:
        with _lock:
            self.waiting += change
            _publish()


_lock = threading.RLock()  # a collected record may be noticed while the lock is held
_watched: Final[list[_Watched]] = []


def watch_pool(engine: Engine) -> None:
    """Count *engine*'s connections into the gauges for as long as it lives."""
    watched = _Watched(engine)
    with _lock:
        _watched.append(watched)

    def connected(_connection: Any, record: Any) -> None:
        watched.changed(record, open_=True)

    def checked_out(_connection: Any, record: Any, _proxy: Any) -> None:
        watched.changed(record, used=True)

    def checked_in(_connection: Any, record: Any) -> None:
        watched.changed(record, used=False)

    def gone(_connection: Any, record: Any, *_: Any) -> None:
        watched.changed(record, open_=False, used=False)

    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", checked_out)
    event.listen(engine, "checkin", checked_in)
    event.listen(engine, "close", gone)
    event.listen(engine, "detach", gone)
    _see_who_waits(engine.pool, watched)
    with _lock:
        _publish()


def _see_who_waits(pool: Pool, watched: _Watched) -> None:
    """
    Make *pool* tell when a thread has to wait.

    There is no event for it. So the pool gets a subclass of its own class, which also the pools get
    that SQLAlchemy makes in its place when the engine is disposed of.
    """
    if not isinstance(pool, QueuePool):
        return

    kind: Any = type(pool)

    class Watched(kind):  # type: ignore[misc]  # its base is known at run time only
        def _do_get(self) -> Any:
            if not (self._pool.empty() and -1 < self._max_overflow <= self._overflow):
                return super()._do_get()
            watched.wait(+1)
            try:
                return super()._do_get()
            finally:
                watched.wait(-1)

    Watched.__name__ = Watched.__qualname__ = kind.__name__
    pool.__class__ = Watched


def _size_of(pool: Pool) -> int:
    if isinstance(pool, QueuePool):
        return pool.size() + max(0, pool._max_overflow)
    if isinstance(pool, SingletonThreadPool):
        return pool.size
    return 1 if isinstance(pool, StaticPool | AssertionPool) else 0  # the rest has no bound


def _publish() -> None:
    _watched[:] = [each for each in _watched if each.engine() is not None]
    active = sum(len(each.used) for each in _watched)
    set_db_pool(
        active=active,
        idle=sum(len(each.open) for each in _watched) - active,
        maximum=sum(each.maximum() for each in _watched),
        waiting=sum(each.waiting for each in _watched),
    )


def _forget_parent() -> None:
    """A forked child has none of its parent's connections, though it has its engines."""
    global _lock
    _lock = threading.RLock()
    for each in _watched:
        each.open.clear()
        each.used.clear()
        each.waiting = 0


at_fork("database_pool_gauges", after_in_child=_forget_parent)
