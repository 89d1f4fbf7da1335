"""
The database metrics of any SQLAlchemy engine: duration of statements and connections of its pool.

`instrument_engine` is part of the public interface; it works for engines of the application too.
Connections are counted by the pool's events. The pool's own numbers count a place that has lost its
connection as idle. Nothing here raises into the application's `connect()` or `execute()`.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import lru_cache
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
from sqlalchemy.engine import ExceptionContext, ExecutionContext

from atom_platform.database._compat_sqlalchemy import count_waiting, limit_of
from atom_platform.forking import at_fork
from atom_platform.metrics.instruments import set_db_pool
from atom_platform.metrics.track import observe_query

__all__ = ["instrument_engine", "operation_of", "watch_pool"]

log = logging.getLogger("atom_platform.database")

_instrumented: Final[weakref.WeakSet[Engine]] = weakref.WeakSet()

#: The attribute with a statement's start, on the context that SQLAlchemy makes per execution.
STARTED: Final = "atom_started"


def instrument_engine(engine: Engine, *, on_query: Callable[[float], None] | None = None) -> None:
    """
    Feed the database metrics from *engine*, from now on; a second call changes nothing.

    Each statement counts, failed ones too; an `executemany` is one statement. SQLAlchemy's own
    statements on a new connection are not counted, nor are COMMIT and ROLLBACK.

    Args:
        engine: Any engine, whatever its database and pool.
        on_query: Called after each statement with its seconds, in the thread that ran it.
    """
    if engine in _instrumented:
        return
    _instrumented.add(engine)

    def before(
        _connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool
    ) -> None:
        setattr(context, STARTED, (operation_of(statement), time.perf_counter()))

    def after(
        _connection: Any, _cursor: Any, _statement: Any, _parameters: Any, context: Any, _many: bool
    ) -> None:
        finish(context)

    def failed(error: ExceptionContext) -> None:
        finish(error.execution_context)

    def finish(context: ExecutionContext | None) -> None:
        started = getattr(context, STARTED, None)
        if started is None:  # an error before the statement was sent, or after it was counted
            return
        setattr(context, STARTED, None)
        operation, began = started
        seconds = time.perf_counter() - began
        observe_query(operation, seconds)
        if on_query is not None:
            on_query(seconds)

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    event.listen(engine, "handle_error", failed)
    watch_pool(engine)


class _PoolConnections:
    """
    The connections of one engine's pool.

    Attributes:
        open: The records of open connections. Weak: those of a disposed pool vanish with it.
        used: Those of them that are checked out.
        waiting: Threads that wait for a connection.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = weakref.ref(engine)
        self.open: weakref.WeakSet[Any] = weakref.WeakSet()
        self.used: weakref.WeakSet[Any] = weakref.WeakSet()
        self.waiting = 0

    def maximum(self) -> int:
        engine = self.engine()
        return 0 if engine is None else _maximum_of(engine.pool)

    def update(self, record: Any, *, open_: bool | None = None, used: bool | None = None) -> None:
        with _never_raising(), _lock:
            for records, now in ((self.open, open_), (self.used, used)):
                if now is True:
                    records.add(record)
                elif now is False:
                    records.discard(record)
            _publish()

    def add_waiting(self, change: int) -> None:
        with _never_raising(), _lock:
            self.waiting += change
            _publish()


@contextlib.contextmanager
def _never_raising() -> Iterator[None]:
    """Keep a defect of the gauges away from the application; it is logged once."""
    global _failed
    try:
        yield
    except Exception:
        if not _failed:
            _failed = True
            log.exception("database_pool_metrics_failed")


_failed = False
_lock = threading.RLock()  # a collected record may be noticed while the lock is held
_pools: Final[list[_PoolConnections]] = []


def watch_pool(engine: Engine) -> None:
    """Count *engine*'s connections into the gauges for as long as it lives."""
    connections = _PoolConnections(engine)
    with _lock:
        _pools.append(connections)

    def connected(_connection: Any, record: Any) -> None:
        connections.update(record, open_=True)

    def checked_out(_connection: Any, record: Any, _proxy: Any) -> None:
        connections.update(record, used=True)

    def checked_in(_connection: Any, record: Any) -> None:
        connections.update(record, used=False)

    def gone(_connection: Any, record: Any, *_: Any) -> None:
        connections.update(record, open_=False, used=False)

    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", checked_out)
    event.listen(engine, "checkin", checked_in)
    event.listen(engine, "close", gone)
    event.listen(engine, "detach", gone)
    count_waiting(engine, connections.add_waiting)
    with _never_raising(), _lock:
        _publish()


def _maximum_of(pool: Pool) -> int:
    """Return the most connections that *pool* opens; 0 without a limit."""
    if isinstance(pool, QueuePool):
        return limit_of(pool)
    if isinstance(pool, SingletonThreadPool):
        return pool.size
    return 1 if isinstance(pool, StaticPool | AssertionPool) else 0  # the others have no limit


def _publish() -> None:
    """Set the gauges to the sums of all pools whose engine still exists; under the lock."""
    _pools[:] = [each for each in _pools if each.engine() is not None]
    active = sum(len(each.used) for each in _pools)
    set_db_pool(
        active=active,
        idle=sum(len(each.open) for each in _pools) - active,
        maximum=sum(each.maximum() for each in _pools),
        waiting=sum(each.waiting for each in _pools),
    )


def _after_fork_in_child() -> None:
    """Clear the counts in a child: it has its parent's engines, but not their connections."""
    global _lock
    _lock = threading.RLock()
    for each in _pools:
        each.open.clear()
        each.used.clear()
        each.waiting = 0


at_fork("database_pool_gauges", after_in_child=_after_fork_in_child)


OPERATIONS: Final = frozenset({"select", "insert", "update", "delete"})

#: The tokens that matter here: comments and quotes that may contain words, parentheses, and words.
TOKEN: Final = re.compile(
    r"""
    --[^\n]*            |  /\*.*?\*/          # comments
    | '(?:[^']|'')*'    |  "(?:[^"]|"")*"     # strings and quoted names
    | \$(\w*)\$.*?\$\1\$                      # PostgreSQL's dollar quotes
    | (?P<paren>[()])
    | (?P<word>[A-Za-z_]\w*)
    """,
    re.VERBOSE | re.DOTALL,
)


@lru_cache(maxsize=1024)
def operation_of(statement: str) -> str:
    """
    Return the kind of *statement*: select, insert, update, delete, or other.

    The first word decides, after comments and parentheses. After WITH it is the first of the four
    words outside the parentheses of the common table expressions.
    """
    depth = 0
    in_with = False
    for token in TOKEN.finditer(statement):
        if paren := token["paren"]:
            depth += 1 if paren == "(" else -1
        elif word := token["word"]:
            word = word.lower()
            if not in_with:
                if word in OPERATIONS:
                    return word
                if word != "with":
                    return "other"
                in_with, depth = True, 0
            elif depth == 0 and word in OPERATIONS:
                return word
    return "other"
