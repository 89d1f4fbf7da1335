"""PromQL of the dashboards: what every query selects, and the shapes that repeat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Query", "increase", "quantile", "rate", "select", "share"]

#: What a selector may be short for. Every query of raw metrics uses one, so that the variables at
#: the top of a dashboard reach every panel, and other jobs with the same metric names none.
SELECTORS: Final = {
    "@service": 'job=~"$job", instance=~"$instance"',
    "@job": 'job=~"$job"',
    # Requests of users: probes are on a dashboard of their own.
    "@users": 'job=~"$job", instance=~"$instance", endpoint!~"/health/.*", endpoint=~"$endpoint"',
    "@agent": 'job=~"$job", instance=~"$instance", agent_id=~"$agent"',
    "@skill": 'job=~"$job", instance=~"$instance", skill_id=~"$skill"',
}


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel, and the names of its lines (`{{label}}` stands for a label)."""

    expr: str
    legend: str = ""
    exemplars: bool = False


def select(expr: str) -> str:
    """Return *expr* with each `@…` replaced by the matchers that it is short for."""
    for name, matchers in SELECTORS.items():
        expr = expr.replace(name, matchers)
    return expr


def rate(
    counter: str, *, by: str = "", where: str = "@service", window: str = "$__rate_interval"
) -> str:
    """How often *counter* counts per second, one line for each *by*."""
    return _sum(by, f"rate({counter}{{{where}}}[{window}])")


def increase(
    counter: str, *, by: str = "", where: str = "@service", window: str = "$__rate_interval"
) -> str:
    """How often *counter* counted in the window, one line for each *by*."""
    return _sum(by, f"increase({counter}{{{where}}}[{window}])")


def quantile(
    q: float,
    histogram: str,
    *,
    by: str = "",
    where: str = "@service",
    window: str = "$__rate_interval",
) -> str:
    """The *q* quantile of *histogram* (its name without `_bucket`), one line for each *by*."""
    labels = f"{by}, le" if by else "le"
    buckets = rate(f"{histogram}_bucket", by=labels, where=where, window=window)
    return f"histogram_quantile({q}, {buckets})"


def share(
    counter: str, of: str, *, by: str, where: str = "@service", window: str = "$__rate_interval"
) -> str:
    """
    How much of *counter* has the matcher *of*, by *by*.

    An event that never happened has no series: `or … * 0` draws it as zero.
    """
    every = rate(counter, by=by, where=where, window=window)
    some = rate(counter, by=by, where=f"{where}, {of}", window=window)
    return f"({some} or {every} * 0) / ({every} > 0)"


def _sum(by: str, vector: str) -> str:
    return f"sum by ({by}) ({vector})" if by else f"sum({vector})"
