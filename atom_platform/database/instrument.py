"""
What any SQLAlchemy engine can be made to tell: how long queries take, and how its pool is doing.

`instrument_engine` is part of the public face; it works for engines that are not ours, too.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext, ExecutionContext

from atom_platform.database.gauges import watch_pool
from atom_platform.database.operation import operation_of
from atom_platform.metrics.track import observe_query

__all__ = ["instrument_engine"]

_instrumented: Final[weakref.WeakSet[Engine]] = weakref.WeakSet()

#: Where a statement's start is kept: on the context that SQLAlchemy makes for each execution.
STARTED: Final = "atom_started"


def instrument_engine(engine: Engine, *, on_query: Callable[[float], None] | None = None) -> None:
    """
    Feed the database metrics from *engine*, from now on; a second call changes nothing.

    Each statement counts, failed ones too; an `executemany` is one. SQLAlchemy's own statements on
    a new connection are not seen, nor are COMMIT and ROLLBACK.

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
