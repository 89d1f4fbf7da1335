"""
What every line of a request says without being told: the fields bound around it.

Fields live in one context variable, so threads, greenlets and tasks do not see each other's. A
scope remembers the one around it and needs no token to leave: it can be left in any order, and in
another context than it was entered in, without taking anybody else's fields along.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar, cast

from atom_platform.logs.exchange import NOTHING, Exchange, Scope
from atom_platform.trace_context import active_span

__all__ = [
    "CURRENT_SCOPE",
    "RequestContext",
    "bound_fields",
    "current_exchange",
    "log_request",
    "note_exception",
    "note_query",
    "outgoing_headers",
    "propagate",
]

P = ParamSpec("P")
R = TypeVar("R")

CURRENT_SCOPE: Final[ContextVar[Scope | None]] = ContextVar("atom_log_scope", default=None)


def current_exchange() -> Exchange | None:
    """Return the request being answered right here, if any."""
    scope = CURRENT_SCOPE.get()
    while scope is not None and not isinstance(scope, Exchange):
        scope = scope.around
    return scope


def bound_fields() -> Mapping[str, Any]:
    """Return the fields that lines logged right here carry."""
    scope = CURRENT_SCOPE.get()
    return NOTHING if scope is None else scope.fields


class RequestContext:
    """
    Binds fields to every line logged inside it.

    A context manager and a decorator of functions, coroutine functions and generator functions
    (whose fields hold while they run, not between two values). It may be used again, and inside
    itself.
    """

    __slots__ = ("_fields",)

    def __init__(self, /, **fields: Any) -> None:
        self._fields = fields

    def __enter__(self) -> RequestContext:
        around = CURRENT_SCOPE.get()
        fields = self._fields if around is None else {**around.fields, **self._fields}
        CURRENT_SCOPE.set(Scope(fields, around, self))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        scope = CURRENT_SCOPE.get()
        while scope is not None:
            if scope.owner is self:
                CURRENT_SCOPE.set(scope.around)
                return
            scope = scope.around
        # Left already, or in another context: there is nothing of ours here.

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def in_context(*args: P.args, **kwargs: P.kwargs) -> Any:
                with RequestContext(**self._fields):
                    return await function(*args, **kwargs)

            return cast(Callable[P, R], in_context)

        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def stepwise(*args: P.args, **kwargs: P.kwargs) -> Any:
                return _step_through(function(*args, **kwargs), self._fields)

            return cast(Callable[P, R], stepwise)

        @functools.wraps(function)
        def inside(*args: P.args, **kwargs: P.kwargs) -> R:
            with RequestContext(**self._fields):
                return function(*args, **kwargs)

        return inside


def _step_through(generator: Any, fields: dict[str, Any]) -> Any:
    """
    Run *generator* with *fields* bound while it runs: its consumer's lines are none of its own.
    """
    resume: Callable[[], Any] = functools.partial(next, generator)
    while True:
        try:
            with RequestContext(**fields):
                value = resume()
        except StopIteration as end:
            return end.value
        try:
            sent = yield value
        except GeneratorExit:
            with RequestContext(**fields):
                generator.close()
            raise
        except BaseException as error:
            resume = functools.partial(generator.throw, error)
        else:
            resume = functools.partial(generator.send, sent)


def propagate(function: Callable[P, R]) -> Callable[P, R]:
    """
    Return *function* to be called in another thread with the context of this place and moment.

    For `executor.submit(propagate(work), …)`. It may be called any number of times, also at once.
    """
    context = contextvars.copy_context()

    @functools.wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        # A copy a call: one context cannot be entered by two threads.
        return context.copy().run(function, *args, **kwargs)

    return carried


def log_request(**fields: Any) -> None:
    """Add *fields* to the access line of the request being answered; outside of one, do nothing."""
    exchange = current_exchange()
    if exchange is not None:
        noted = exchange.noted()
        if noted.notes is None:
            noted.notes = fields
        else:
            noted.notes.update(fields)


def note_query(seconds: float) -> None:
    """Add a database query to the access line of the request being answered."""
    exchange = current_exchange()
    if exchange is not None:
        noted = exchange.noted()
        noted.db_queries += 1
        noted.db_seconds += seconds


def note_exception(error: BaseException) -> None:
    """
    Name *error* as what the request being answered failed with, although it was turned into a
    response.
    """
    exchange = current_exchange()
    if exchange is not None:
        exchange.noted().exception = error


def outgoing_headers() -> dict[str, str]:
    """
    Return the headers that carry this request's ids to the service called next.

    `X-Request-ID`, and `traceparent` with `tracestate` when there is a trace; empty outside of a
    request.
    """
    headers: dict[str, str] = {}
    exchange = current_exchange()
    trace = active_span()
    if exchange is not None:
        headers["X-Request-ID"] = exchange.request_id
        trace = trace or exchange.noted().trace
    if trace is not None:
        headers.update(trace.outgoing_headers())
    return headers
