"""A trace context is read if it is valid, and ignored otherwise."""

from __future__ import annotations

import sys
import types

import pytest

from atom_platform.logs import RequestContext, get_logger
from atom_platform.logs.context import outgoing_headers
from atom_platform.trace_context import active_span, parse_trace_context
from tests.unit.logs.conftest import Log

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01"


def test_reads_a_valid_header() -> None:
    found = parse_trace_context(f" {VALID}\t")

    assert found is not None
    assert (found.trace_id, found.span_id, found.flags) == (TRACE, SPAN, "01")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        VALID.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01-extra",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"{VALID},{VALID}",
        f"01-{TRACE}-{SPAN}-01extra",
        f"{VALID}\n",
        f"00_{TRACE}_{SPAN}_01",
    ],
)
def test_an_invalid_header_is_none(header: str) -> None:
    assert parse_trace_context(header) is None


@pytest.mark.parametrize("rest", ["", "-", "-what-the-future-brings"])
def test_a_later_version_is_accepted_if_it_starts_like_00(rest: str) -> None:
    found = parse_trace_context(f"cc-{TRACE}-{SPAN}-ff{rest}")

    assert found is not None
    assert found.outgoing_headers()["traceparent"].startswith(f"00-{TRACE}-")
    assert found.outgoing_headers()["traceparent"].endswith("-03")


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("congo=t61rcWkgMzE", "congo=t61rcWkgMzE"),
        ("rojo=1, congo=2 ,,", "rojo=1,congo=2"),
        ("fw529a3039@dt=x", "fw529a3039@dt=x"),
        ("a=1,a=2", ""),
        ("A=1", ""),
        ("a", ""),
        ("a=b=c", ""),
        ("a=ü", ""),
        (",".join(f"k{n}=v" for n in range(32)), ",".join(f"k{n}=v" for n in range(32))),
        (",".join(f"k{n}=v" for n in range(33)), ""),
        ("", ""),
    ],
)
def test_tracestate_is_passed_on_if_valid(state: str, kept: str) -> None:
    found = parse_trace_context(VALID, state)

    assert found is not None
    assert found.outgoing_headers().get("tracestate", "") == kept


def test_each_call_has_a_new_span_id() -> None:
    found = parse_trace_context(VALID)
    assert found is not None

    parents = {found.outgoing_headers()["traceparent"] for _ in range(100)}

    assert len(parents) == 100
    assert all(parse_trace_context(parent) for parent in parents)


def test_without_opentelemetry_there_is_no_span() -> None:
    assert "opentelemetry.trace" not in sys.modules
    assert active_span() is None


def test_the_active_span_of_opentelemetry_is_used(
    monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    """A stand-in with the interface of the real package, which is no dependency of ours."""
    context = types.SimpleNamespace(
        is_valid=True, trace_id=0xABC, span_id=0xDEF, trace_flags=1, trace_state=None
    )
    span = types.SimpleNamespace(get_span_context=lambda: context)
    module = types.ModuleType("opentelemetry.trace")
    module.get_current_span = lambda: span  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", module)

    with RequestContext(trace_id=TRACE, span_id=SPAN):
        get_logger("traced").info("e")
        context.is_valid = False
        get_logger("traced").info("e")

    first, second = log.lines()
    assert (first["trace_id"], first["span_id"]) == (f"{0xABC:032x}", f"{0xDEF:016x}")
    assert (second["trace_id"], second["span_id"]) == (TRACE, SPAN)
    context.is_valid = True
    assert outgoing_headers()["traceparent"].startswith(f"00-{0xABC:032x}-")


def test_a_broken_opentelemetry_module_gives_no_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", types.ModuleType("opentelemetry.trace"))

    assert active_span() is None
