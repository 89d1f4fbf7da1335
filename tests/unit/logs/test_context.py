"""A line has the fields that are bound around it, and no other line has them."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from atom_platform.logs import RequestContext, log_request, propagate
from atom_platform.logs.context import (
    CURRENT_SCOPE,
    RequestScope,
    bound_fields,
    note_query,
    outgoing_headers,
)
from atom_platform.trace_context import parse_trace_context


@pytest.fixture(autouse=True)
def _nothing_is_left_bound() -> Iterator[None]:
    assert dict(bound_fields()) == {}
    yield
    assert dict(bound_fields()) == {}


def test_fields_are_bound_inside_of_the_context_only() -> None:
    with RequestContext(request_id="req-456", user_id="user-789"):
        assert bound_fields() == {"request_id": "req-456", "user_id": "user-789"}


def test_an_inner_context_adds_and_replaces_fields_until_it_is_left() -> None:
    with RequestContext(a=1, b=1):
        with RequestContext(b=2, c=2):
            assert bound_fields() == {"a": 1, "b": 2, "c": 2}
        assert bound_fields() == {"a": 1, "b": 1}


def test_an_exception_leaves_no_fields_behind() -> None:
    with pytest.raises(KeyError), RequestContext(a=1), RequestContext(b=2):
        raise KeyError


def test_a_context_can_be_used_again_and_inside_of_itself() -> None:
    context = RequestContext(a=1)

    with context, RequestContext(a=2):
        with context:
            assert bound_fields() == {"a": 1}
        assert bound_fields() == {"a": 2}
    with context:
        assert bound_fields() == {"a": 1}


def test_leaving_in_the_wrong_order_leaves_no_fields_behind() -> None:
    first, second = RequestContext(a=1), RequestContext(b=2)

    first.__enter__()
    second.__enter__()
    first.__exit__()
    assert bound_fields() == {}
    second.__exit__()
    first.__exit__()


def test_leaving_in_another_context_removes_no_fields_there() -> None:
    context = RequestContext(a=1)
    contextvars.copy_context().run(context.__enter__)

    with RequestContext(b=2):
        context.__exit__()
        assert bound_fields() == {"b": 2}


def test_any_name_can_be_a_field() -> None:
    with RequestContext(self=1, fields=2):
        assert bound_fields() == {"self": 1, "fields": 2}


def test_decorates_a_function() -> None:
    @RequestContext(a=1)
    def work(number: int) -> tuple[int, dict[str, object]]:
        """Do it."""
        return number, dict(bound_fields())

    assert work(5) == (5, {"a": 1})
    assert work.__name__ == "work"
    assert work.__doc__ == "Do it."


def test_decorates_a_coroutine_function() -> None:
    @RequestContext(a=1)
    async def work(name: str) -> dict[str, object]:
        with RequestContext(name=name):
            await asyncio.sleep(0)
            return dict(bound_fields())

    async def both() -> list[dict[str, object]]:
        return list(await asyncio.gather(work("x"), work("y")))

    assert asyncio.run(both()) == [{"a": 1, "name": "x"}, {"a": 1, "name": "y"}]


def test_decorates_a_generator_function_without_binding_for_its_consumer() -> None:
    seen = []

    @RequestContext(a=1)
    def values() -> Iterator[int]:
        try:
            seen.append(dict(bound_fields()))
            got = yield 1
            seen.append({"got": got, **bound_fields()})
            try:
                yield 2
            except KeyError:
                seen.append({"thrown": True, **bound_fields()})
            yield 3
        finally:
            seen.append({"closed": True, **bound_fields()})

    generator = values()
    assert next(generator) == 1
    assert bound_fields() == {}
    assert generator.send("hello") == 2  # type: ignore[attr-defined]
    assert generator.throw(KeyError()) == 3  # type: ignore[attr-defined]
    generator.close()  # type: ignore[attr-defined]

    assert seen == [
        {"a": 1},
        {"got": "hello", "a": 1},
        {"thrown": True, "a": 1},
        {"closed": True, "a": 1},
    ]


def test_threads_do_not_see_each_others_fields() -> None:
    together = threading.Barrier(8)

    def work(number: int) -> bool:
        with RequestContext(number=number):
            together.wait(10)
            same = bound_fields() == {"number": number}
            together.wait(10)
        return same and bound_fields() == {}

    with ThreadPoolExecutor(8) as pool, RequestContext(mine=1):
        assert all(pool.map(work, range(8)))


def test_propagate_binds_the_fields_in_a_pool_for_one_call() -> None:
    with ThreadPoolExecutor(1) as pool:
        with RequestContext(a=1):
            work = propagate(lambda: dict(bound_fields()))
        with RequestContext(a=2):
            assert pool.submit(work).result() == {"a": 1}
        assert pool.submit(lambda: dict(bound_fields())).result() == {}


def test_a_propagated_function_may_run_concurrently() -> None:
    together = threading.Barrier(4)

    def work(number: int) -> tuple[int, object]:
        together.wait(10)
        return number, bound_fields()["a"]

    with ThreadPoolExecutor(4) as pool, RequestContext(a=1):
        assert sorted(pool.map(propagate(work), range(4))) == [(n, 1) for n in range(4)]


def test_outside_of_a_request_nothing_is_noted() -> None:
    log_request(a=1)
    note_query(0.1)

    assert outgoing_headers() == {}


def test_log_request_works_in_an_inner_context_and_in_a_pool() -> None:
    exchange = RequestScope()
    token = CURRENT_SCOPE.set(exchange)
    try:
        with RequestContext(a=1), ThreadPoolExecutor(1) as pool:
            log_request(agent_id="x", steps=1)
            note_query(0.25)
            pool.submit(propagate(log_request), steps=2).result()
            pool.submit(propagate(note_query), 0.5).result()
    finally:
        CURRENT_SCOPE.reset(token)

    extras = exchange.ensure_extras()
    assert extras.fields == {"agent_id": "x", "steps": 2}
    assert (extras.db_queries, extras.db_seconds) == (2, 0.75)


def test_outgoing_headers_carry_the_ids_of_the_request() -> None:
    exchange = RequestScope()
    exchange.request_id = "req-1"
    exchange.ensure_extras().trace = parse_trace_context(f"00-{'a' * 32}-{'b' * 16}-01", "x=1")
    token = CURRENT_SCOPE.set(exchange)
    try:
        headers = outgoing_headers()
    finally:
        CURRENT_SCOPE.reset(token)

    sent = parse_trace_context(headers["traceparent"])
    assert sent is not None
    assert (headers["X-Request-ID"], headers["tracestate"]) == ("req-1", "x=1")
    assert (sent.trace_id, sent.flags) == ("a" * 32, "01")
    assert sent.span_id != "b" * 16
