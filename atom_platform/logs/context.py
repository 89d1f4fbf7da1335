"""
The fields that log lines carry: those of the request, and those that `RequestContext` binds.

The innermost scope is kept in one context variable, so threads, greenlets and tasks do not see each
other's fields. A scope refers to the scope around it and needs no token. It can therefore be left
in any order, or in another context, without removing other fields.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Final, ParamSpec, TypeVar, cast

from atom_platform.trace_context import TraceContext, active_span

__all__ = [
    "CURRENT_SCOPE",
    "NO_FIELDS",
    "LogScope",
    "RequestContext",
    "RequestExtras",
    "RequestScope",
    "bound_fields",
    "current_request_scope",
    "log_request",
    "note_exception",
    "note_query",
    "outgoing_headers",
    "propagate",
]

NO_FIELDS: Final[Mapping[str, Any]] = MappingProxyType({})


class LogScope:
    """
    The fields of the lines logged inside of one scope.

    Attributes:
        fields: Those of this scope and of all scopes around it.
        parent: The scope around it; None for the outermost.
        owner: The `RequestContext` that was entered; it leaves no other scope than its own.
    """

    __slots__ = ("fields", "owner", "parent")

    def __init__(self, fields: Mapping[str, Any], parent: LogScope | None, owner: object) -> None:
        self.fields = fields
        self.parent = parent
        self.owner = owner


@dataclass(slots=True)
class RequestExtras:
    """
    What is known of some requests only, for their access lines.

    Attributes:
        trace: The trace context that the client sent.
        fields: What `log_request` added.
        db_queries: The number of database queries.
        db_seconds: The time they took.
        exception: The exception that no error handler turned into a response.
        aborted: Why the response was cut off; empty if it was not.
    """

    trace: TraceContext | None = None
    fields: dict[str, Any] | None = None
    db_queries: int = 0
    db_seconds: float = 0.0
    exception: BaseException | None = None
    aborted: str = ""


class RequestScope(LogScope):
    """
    A request: the outermost scope of its lines, and what its access line needs to know.

    Attributes:
        request_id: The client's or our own; empty if requests get no ids.
        extras: None until something is noted there.
    """

    __slots__ = ("extras", "request_id")

    # The middleware enters and leaves it.
    parent = None
    owner = None

    def __init__(self) -> None:
        self.request_id = ""
        self.extras: RequestExtras | None = None

    @property
    def fields(self) -> Mapping[str, Any]:  # type: ignore[override]  # made when a line needs it
        """The ids of the request."""
        if not self.request_id:
            return NO_FIELDS
        trace = None if self.extras is None else self.extras.trace
        if trace is None:
            return {"request_id": self.request_id}
        return {
            "request_id": self.request_id,
            "trace_id": trace.trace_id,
            "span_id": trace.span_id,
        }

    def ensure_extras(self) -> RequestExtras:
        """Return `extras`, which the first call creates."""
        if self.extras is None:
            self.extras = RequestExtras()
        return self.extras


P = ParamSpec("P")
R = TypeVar("R")

CURRENT_SCOPE: Final[ContextVar[LogScope | None]] = ContextVar("atom_log_scope", default=None)


def current_request_scope() -> RequestScope | None:
    """Return the request that this thread, greenlet or task is answering, if any."""
    scope = CURRENT_SCOPE.get()
    while scope is not None and not isinstance(scope, RequestScope):
        scope = scope.parent
    return scope


def bound_fields() -> Mapping[str, Any]:
    """Return the fields that a line logged here would carry."""
    scope = CURRENT_SCOPE.get()
    return NO_FIELDS if scope is None else scope.fields


class RequestContext:
    """
    Binds fields to every line that is logged inside of it.

    It is a context manager, and a decorator of functions, coroutine functions and generator
    functions. The fields of a generator are bound while it runs, not between two values. One object
    may be used several times, also inside of itself.
    """

    __slots__ = ("_fields",)

    def __init__(self, /, **fields: Any) -> None:
        self._fields = fields

    def __enter__(self) -> RequestContext:
        parent = CURRENT_SCOPE.get()
        fields = self._fields if parent is None else {**parent.fields, **self._fields}
        CURRENT_SCOPE.set(LogScope(fields, parent, self))
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
                CURRENT_SCOPE.set(scope.parent)
                return
            scope = scope.parent
        # Not found: it was left already, or it is left in another context.

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
    Delegate to *generator* like `yield from`, with *fields* bound only while it runs.

    The lines that its consumer logs between two values do not get the fields.
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
    Return *function* bound to the current context, to be called in another thread.

    For `executor.submit(propagate(work), …)`. It may be called any number of times, also
    concurrently.
    """
    context = contextvars.copy_context()

    @functools.wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        # One copy for each call: two threads cannot enter the same context.
        return context.copy().run(function, *args, **kwargs)

    return carried


def log_request(**fields: Any) -> None:
    """Add *fields* to the access line of the current request; without one, do nothing."""
    scope = current_request_scope()
    if scope is not None:
        extras = scope.ensure_extras()
        if extras.fields is None:
            extras.fields = fields
        else:
            extras.fields.update(fields)


def note_query(seconds: float) -> None:
    """Add a database query of *seconds* to the access line of the current request."""
    scope = current_request_scope()
    if scope is not None:
        extras = scope.ensure_extras()
        extras.db_queries += 1
        extras.db_seconds += seconds


def note_exception(error: BaseException) -> None:
    """Name *error* in the current request's access line, although it became a response."""
    scope = current_request_scope()
    if scope is not None:
        scope.ensure_extras().exception = error


def outgoing_headers() -> dict[str, str]:
    """
    Return the headers that pass the ids of the current request on to another service.

    They are `X-Request-ID`, and with a trace `traceparent` and `tracestate`. Without a request
    there are none, except for those of an active OpenTelemetry span.
    """
    headers: dict[str, str] = {}
    scope = current_request_scope()
    trace = active_span()
    if scope is not None:
        headers["X-Request-ID"] = scope.request_id
        trace = trace or scope.ensure_extras().trace
    if trace is not None:
        headers.update(trace.outgoing_headers())
    return headers
