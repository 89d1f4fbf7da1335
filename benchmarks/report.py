"""The results of a run: JSON to compare with, Markdown to read, a chart for each table."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks.chart import bars
from benchmarks.promises import Promise, Verdict
from benchmarks.run import Plan, Section
from benchmarks.servers import ROOT

__all__ = ["current_commit", "markdown", "promises_table", "write"]

#: The guide's latency targets, in milliseconds: target, acceptable, critical.
_TARGETS: Final = {"live": (10, 50, 100), "ready": (100, 250, 500), "metrics": (50, 100, 200)}
_PACKAGES: Final = ("flask", "gunicorn", "prometheus-client", "structlog", "orjson", "sqlalchemy")


def write(
    folder: Path, sections: Mapping[str, Section], verdicts: Sequence[Verdict], plan: Plan
) -> Path:
    """Write everything about a run below *folder*; return the JSON file."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    stem = f"{today}-{plan.commit}" + ("-quick" if plan.quick else "")
    folder.mkdir(parents=True, exist_ok=True)
    facts = _facts(plan)
    kept = {v.promise.what: {"value": v.value, "kept": v.kept} for v in verdicts}
    tables = {
        name: {
            "title": each.title,
            "command": each.command,
            "rows": {row: measured.as_json() for row, measured in each.rows.items()},
        }
        for name, each in sections.items()
    }
    path = folder / f"{stem}.json"
    path.write_text(
        json.dumps({"facts": facts, "promises": kept, "sections": tables}, indent=1) + "\n"
    )
    charts = folder / stem
    charts.mkdir(exist_ok=True)
    for name, section in sections.items():
        (charts / f"{name}.svg").write_text(bars(section))
    (folder / f"{stem}.md").write_text(markdown(sections, verdicts, facts, charts=stem))
    return path


def markdown(
    sections: Mapping[str, Section],
    verdicts: Sequence[Verdict],
    facts: Mapping[str, Any],
    *,
    charts: str = "",
) -> str:
    """Return the whole report."""
    lines = ["# Benchmarks", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    lines += ["## Promises", "", promises_table(verdicts), ""]
    for name, section in sections.items():
        lines += [f"## {section.title}", "", f"`{section.command}`", "", _table(section), ""]
        if charts:
            lines += [f"![{section.title}]({charts}/{name}.svg)", ""]
    return "\n".join(lines)


def promises_table(verdicts: Sequence[Verdict]) -> str:
    """Return each promise with its bound, its figure and whether it was kept."""
    lines = ["| promise | bound | measured | kept |", "| --- | --: | --: | --- |"]
    for verdict in verdicts:
        value = "–" if verdict.value is None else f"{verdict.value:,.4g}"
        kept = {True: "yes", False: "**no**", None: "not measured"}[verdict.kept]
        lines.append(f"| {verdict.promise.what} | {_bound(verdict.promise)} | {value} | {kept} |")
    return "\n".join(lines)


def _bound(promise: Promise) -> str:
    if promise.most is not None and promise.most == promise.least:
        return f"= {promise.most:.3g}"
    return f"≤ {promise.most:.3g}" if promise.most is not None else f"≥ {promise.least:.3g}"


def _table(section: Section) -> str:
    endpoint = section.name.split("_")[1] if section.name.startswith("guide_") else ""
    if len(section.rows) == 1 and len(section.quantities) > 6:
        return _figures(section)
    head = [*section.quantities, *(["verdict"] if endpoint else []), "clean rounds"]
    lines = [f"| | {' | '.join(head)} |", f"| --- |{' --: |' * len(head)}"]
    for name, row in section.rows.items():
        cells = []
        for quantity in section.quantities:
            low, high = row.spread(quantity)
            cells.append(f"{row.median(quantity):,.4g} ({low:,.3g} – {high:,.3g})")
        if endpoint:
            cells.append(_verdict(row.median("p99_ms"), endpoint))
        lines.append(f"| {name} | {' | '.join(cells)} | {row.clean} of {len(row.readings)} |")
    return "\n".join(lines)


def _figures(section: Section) -> str:
    ((_, row),) = section.rows.items()
    lines = ["| figure | median | from – to |", "| --- | --: | --: |"]
    for quantity in section.quantities:
        low, high = row.spread(quantity)
        lines.append(f"| {quantity} | {row.median(quantity):,.4g} | {low:,.3g} – {high:,.3g} |")
    return "\n".join([*lines, "", f"Clean rounds: {row.clean} of {len(row.readings)}."])


def _verdict(p99_ms: float, endpoint: str) -> str:
    target, acceptable, critical = _TARGETS[endpoint]
    if p99_ms < target:
        return "target"
    if p99_ms < acceptable:
        return "acceptable"
    return "critical" if p99_ms > critical else "beyond acceptable"


def _facts(plan: Plan) -> dict[str, Any]:
    return {
        "taken": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": plan.commit,
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        "CPUs": os.cpu_count(),
        "load at the end": Path("/proc/loadavg").read_text().split()[0],
        "rounds": plan.rounds,
        "clean means": f"others used less than {plan.quiet.limit:.0%} of the CPUs",
        "waited for quiet": f"{plan.quiet.waited_seconds:.0f} s",
    }


def current_commit() -> str:
    """Return the short name of the commit checked out, or `unknown`."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"
