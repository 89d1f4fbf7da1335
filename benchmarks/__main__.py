"""`python -m benchmarks`: measure, write down, and say which promises were kept."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from benchmarks.noise import Quiet
from benchmarks.promises import judge
from benchmarks.report import current_commit, promises_table, write
from benchmarks.rounds import note
from benchmarks.run import Plan, Section
from benchmarks.sections import SECTIONS

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="some minutes, fewer peers")
    parser.add_argument("--check", action="store_true", help="exit 1 when a ratio is missed")
    parser.add_argument("--only", nargs="*", choices=SECTIONS, help="leave the rest out")
    parser.add_argument("--rounds", type=int, default=0, help="readings of each contender")
    parser.add_argument("--patience", type=float, help="seconds to wait for quiet, all in all")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args(arguments)
    # An exception, so that every server started here is ended on the way out.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    patience = given.patience if given.patience is not None else (10.0 if given.quick else 300.0)
    plan = Plan(
        rounds=given.rounds or (3 if given.quick else 5),
        quick=given.quick,
        quiet=Quiet(budget_seconds=patience),
        commit=current_commit(),
    )
    sections: dict[str, Section] = {}
    for name in given.only or SECTIONS:
        started = time.monotonic()
        note(f"{name} …")
        for section in SECTIONS[name](plan):
            sections[section.name] = section
            write(given.out, sections, judge(sections), plan)  # a run cut short has its tables
        note(f"{name}: {time.monotonic() - started:.0f} s")
    verdicts = judge(sections)
    path = write(given.out, sections, verdicts, plan)
    print(promises_table([each for each in verdicts if each.value is not None]))
    print(f"\nwritten: {path}")
    missed = [each for each in verdicts if each.kept is False and each.promise.ratio]
    if given.check and missed:
        print(f"{len(missed)} ratios missed", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
