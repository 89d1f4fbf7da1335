"""Queries taken apart: which series they select, and inside what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import promql_parser
from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    MatrixSelector,
    ParenExpr,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
)

__all__ = ["Aggregation", "Selection", "aggregations", "parse", "selections"]


@dataclass(frozen=True, slots=True)
class Selection:
    """
    One selector of a query.

    Attributes:
        functions: The functions it is inside of, outermost first; also `unless`, on whose right
            side it counts only whether a series is there.
        matchers: Label, operator and value of each of its matchers.
    """

    metric: str
    matchers: tuple[tuple[str, str, str], ...]
    functions: tuple[str, ...]
    ranged: bool

    @property
    def labels(self) -> set[str]:
        return {label for label, _, _ in self.matchers}


@dataclass(frozen=True, slots=True)
class Aggregation:
    """The labels that an aggregation or a match keeps, and the selectors inside."""

    labels: frozenset[str]
    inside: tuple[Selection, ...]


def parse(expr: str) -> Expr:
    """Parse *expr*, in which Grafana's interval may stand for a duration."""
    return promql_parser.parse(expr.replace("$__rate_interval", "5m"))


def selections(expr: Expr, functions: tuple[str, ...] = ()) -> Iterator[Selection]:
    """Yield every selector in *expr*."""
    if isinstance(expr, VectorSelector):
        yield _selection(expr, functions, ranged=False)
    elif isinstance(expr, MatrixSelector):
        yield _selection(expr.vector_selector, functions, ranged=True)
    elif isinstance(expr, Call):
        for argument in expr.args:
            yield from selections(argument, (*functions, expr.func.name))
    elif isinstance(expr, BinaryExpr) and str(expr.op) == "unless":
        yield from selections(expr.lhs, functions)
        yield from selections(expr.rhs, (*functions, "unless"))
    else:
        for child in _children(expr):
            yield from selections(child, functions)


def aggregations(expr: Expr) -> Iterator[Aggregation]:
    """Yield every `by (…)` and `on (…)` in *expr*."""
    if isinstance(expr, AggregateExpr) and expr.modifier is not None:
        yield Aggregation(frozenset(expr.modifier.labels), tuple(selections(expr.expr)))
    if isinstance(expr, BinaryExpr) and expr.modifier is not None and expr.modifier.matching:
        labels = frozenset(expr.modifier.matching.labels)
        yield Aggregation(labels, tuple(selections(expr.lhs)))
        yield Aggregation(labels, tuple(selections(expr.rhs)))
    for child in expr.args if isinstance(expr, Call) else _children(expr):
        yield from aggregations(child)


def _children(expr: Expr) -> list[Expr]:
    if isinstance(expr, BinaryExpr):
        return [expr.lhs, expr.rhs]
    if isinstance(expr, AggregateExpr | ParenExpr | SubqueryExpr | UnaryExpr):
        return [expr.expr]
    return []


def _selection(selector: VectorSelector, functions: tuple[str, ...], *, ranged: bool) -> Selection:
    matchers = tuple(
        (each.name, str(each.op).rpartition(".")[2], each.value)
        for each in selector.matchers.matchers
    )
    assert selector.name is not None, f"a selector without a metric: {selector}"
    return Selection(selector.name, matchers, functions, ranged)
