"""Markdown tables of a report."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.contract import GUIDE_TARGETS_MS
from benchmarks.curves import Curve
from benchmarks.laws import Law, fit
from benchmarks.promises import Promise, Verdict
from benchmarks.rounds import Measured
from benchmarks.run import Section

__all__ = ["laws_table", "promises_table", "section_table"]


def promises_table(verdicts: Sequence[Verdict]) -> str:
    """Return each promise with its bound, its figure and whether it was kept."""
    lines = [
        "| contract §7 | figure | bound | measured | kept |",
        "| --- | --- | --: | --: | --- |",
    ]
    before = ""
    for verdict in verdicts:
        promise = verdict.promise
        value = "–" if verdict.value is None else f"{verdict.value:,.4g}"
        kept = {True: "yes", False: "**no**", None: "not measured"}[verdict.kept]
        kept += "" if promise.ratio or verdict.kept is None else ", on this machine"
        line = "" if promise.line == before else promise.line
        lines.append(f"| {line} | {promise.what} | {_bound(promise)} | {value} | {kept} |")
        before = promise.line
    return "\n".join(lines)


def laws_table(curves: Sequence[Curve]) -> str:
    """Return the exponent of each line of *curves* along each axis, from its own points."""
    axes = list(dict.fromkeys((each.cases, each.x) for each in curves))
    head = [f"{x} ({cases})" if cases else x for cases, x in axes]
    rows: dict[str, dict[tuple[str, str], str]] = {}
    for curve in curves:
        for line in curve.lines:
            if line.measured and len(line.points) > 2:
                cells = rows.setdefault(f"{curve.what}: {line.name}", {})
                cells[curve.cases, curve.x] = _law(fit(line.points))
    lines = [f"| cost in | {' | '.join(head)} |", f"| --- |{' --- |' * len(head)}"]
    for what, cells in rows.items():
        lines.append(f"| {what} | {' | '.join(cells.get(axis, '') for axis in axes)} |")
    return "\n".join(lines)


def _law(law: Law) -> str:
    return (
        f"{law.exponent:.2f}, in the end {law.last:.2f} "
        f"({law.least:,.0f} – {law.most:,.0f}, × {law.worst:.2f})"
    )


def section_table(section: Section) -> str:
    """Return a table with a row for each contender; the guide's have a verdict too."""
    endpoint = section.name.split("_")[1] if section.name.startswith("guide_") else ""
    head = [*section.quantities, *(["verdict"] if endpoint else []), "clean rounds"]
    lines = [f"| | {' | '.join(head)} |", f"| --- |{' --: |' * len(head)}"]
    for name, row in section.rows.items():
        cells = [_cell(row, quantity) for quantity in section.quantities]
        if endpoint:
            cells.append(_verdict(row, endpoint))
        lines.append(f"| {name} | {' | '.join(cells)} | {row.clean} of {len(row.readings)} |")
    return "\n".join(lines)


def _cell(row: Measured, quantity: str) -> str:
    if not row.has(quantity):
        return "not run"
    low, high = row.spread(quantity)
    median = f"{row.median(quantity):,.4g}"
    return median if low == high else f"{median} ({low:,.3g} – {high:,.3g})"


def _bound(promise: Promise) -> str:
    if promise.most is None:
        return f"≥ {promise.least:.3g}"
    return f"= {promise.most:.3g}" if promise.most == promise.least else f"≤ {promise.most:.3g}"


def _verdict(row: Measured, endpoint: str) -> str:
    if not row.has("p99_ms"):
        return "failed"
    p99_ms = row.median("p99_ms")
    target, acceptable, critical = GUIDE_TARGETS_MS[endpoint]
    if p99_ms < target:
        return "target"
    if p99_ms < acceptable:
        return "acceptable"
    return "critical" if p99_ms > critical else "beyond acceptable"
