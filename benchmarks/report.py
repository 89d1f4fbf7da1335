"""The results of a run: JSON to compare with, Markdown to read, charts."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks.chart import bars
from benchmarks.contract import judge
from benchmarks.curves import curves
from benchmarks.footprint import footprint
from benchmarks.lines import lines
from benchmarks.population import LINES_PER_SET
from benchmarks.run import Outcome, Plan, Section
from benchmarks.servers import ROOT
from benchmarks.tables import laws_table, promises_table, section_table

__all__ = ["current_commit", "markdown", "write"]

_PACKAGES: Final = ("flask", "gunicorn", "prometheus-client", "structlog", "orjson", "sqlalchemy")


def write(folder: Path, outcome: Outcome, plan: Plan) -> Path:
    """Write everything about a run below *folder*; return the JSON file."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    stem = f"{today}-{plan.commit}" + ("-quick" if plan.quick else "")
    folder.mkdir(parents=True, exist_ok=True)
    facts = _facts(outcome, plan)
    path = folder / f"{stem}.json"
    path.write_text(json.dumps({"facts": facts, **_as_json(outcome)}, indent=1) + "\n")
    charts = folder / stem
    charts.mkdir(exist_ok=True)
    for name, section in outcome.sections.items():
        if section.chart:
            (charts / f"{name}.svg").write_text(bars(section))
    for curve in curves(outcome.sections):
        (charts / f"{curve.name}.svg").write_text(lines(curve))
    (folder / f"{stem}.md").write_text(markdown(outcome, facts, charts=stem))
    return path


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "promises": [
            {
                "line": v.promise.line,
                "what": v.promise.what,
                "most": v.promise.most,
                "least": v.promise.least,
                "ratio": v.promise.ratio,
                "value": v.value,
                "kept": v.kept,
            }
            for v in judge(outcome.sections)
        ],
        "failed": outcome.failed,
        "footprint_kib": footprint(outcome.sections),
        "curves": [asdict(each) for each in curves(outcome.sections)],
        "sections": {
            name: {
                "title": each.title,
                "command": each.command,
                "rows": {row: measured.as_json() for row, measured in each.rows.items()},
            }
            for name, each in outcome.sections.items()
        },
    }


def markdown(outcome: Outcome, facts: Mapping[str, Any], *, charts: str) -> str:
    """Return the whole report; its charts are in the folder *charts* beside it."""
    parts = ["# Benchmarks", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    for name, error in outcome.failed.items():
        parts += [f"**{name} ended early: {error}**", ""]
    parts += ["## Promises", "", promises_table(judge(outcome.sections)), ""]
    for section in outcome.sections.values():
        parts += _section(section, charts)
    return "\n".join([*parts, *_growth(outcome, charts)])


def _section(section: Section, charts: str) -> list[str]:
    parts = [f"## {section.title}", "", f"`{section.command}`", "", section_table(section), ""]
    if section.chart:
        parts += [f"![{section.title}]({charts}/{section.name}.svg)", ""]
    return parts


def _growth(outcome: Outcome, charts: str) -> list[str]:
    """Return laws, sizes and curves: all of them come from the tables above."""
    drawn = curves(outcome.sections)
    if not drawn:
        return []
    parts = [
        "## How cost grows",
        "",
        "Exponents: 1 is proportional, 0 does not grow. By least squares of the logarithms over",
        "all sizes, and between the two largest ones; in brackets the sizes, and the factor by",
        "which the point is off that fits worst.",
        "",
        laws_table(drawn),
        "",
    ]
    sizes = footprint(outcome.sections)
    if sizes:
        rows = [f"| {what} | {kib:.2f} |" for what, kib in sizes.items()]
        parts += [
            f"| memory of a label set ({LINES_PER_SET} lines) | KiB |",
            "| --- | --: |",
            *rows,
            "",
        ]
    for curve in drawn:
        parts += [f"![{curve.title}]({charts}/{curve.name}.svg)", ""]
    return parts


def _facts(outcome: Outcome, plan: Plan) -> dict[str, Any]:
    return {
        "taken": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": plan.commit,
        "took": f"{outcome.seconds:.0f} s",
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
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:  # no git
        return "unknown"
    return done.stdout.strip() or "unknown"
