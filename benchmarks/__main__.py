"""`python -m benchmarks`: measures, writes the report, and lists the promises that were kept."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contract import judge
from benchmarks.fleet import Fleet
from benchmarks.noise import Quiet
from benchmarks.promises import Verdict
from benchmarks.report import current_commit, write
from benchmarks.run import Outcome, Plan, take
from benchmarks.sections import SECTIONS
from benchmarks.tables import promises_table

__all__ = ["complaints", "main"]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two minutes: fewer peers, no curves")
    parser.add_argument("--check", action="store_true", help="exit 1 when a ratio is missed")
    parser.add_argument("--only", nargs="*", choices=SECTIONS, help="leave the rest out")
    parser.add_argument("--rounds", type=int, default=0, help="readings of each contender")
    parser.add_argument(
        "--wait-budget", type=float, help="seconds for waiting and repeating, in total"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args(arguments)
    # SystemExit unwinds the stack, which ends every server started here.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    default = 5.0 if given.quick else 60.0
    budget = given.wait_budget if given.wait_budget is not None else default
    quiet = Quiet(budget_seconds=budget, look_seconds=0.1 if given.quick else 0.25)
    makers = {name: make for name, make in SECTIONS.items() if name in (given.only or SECTIONS)}
    with Fleet() as fleet:
        plan = Plan(
            rounds=given.rounds or (3 if given.quick else 5),
            quick=given.quick,
            quiet=quiet,
            commit=current_commit(),
            fleet=fleet,
        )
        outcome = take(makers, plan, lambda so_far: write(given.out, so_far, plan))
    verdicts = judge(outcome.sections)
    whole = len(makers) == len(SECTIONS)
    print(promises_table([v for v in verdicts if whole or v.value is not None]))
    print(f"\nwritten: {write(given.out, outcome, plan)}")
    wrong = complaints(outcome, verdicts if given.check else [], whole=whole)
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


def complaints(outcome: Outcome, verdicts: Sequence[Verdict], *, whole: bool) -> list[str]:
    """
    Return the faults of a run, one per line.

    Args:
        whole: Whether the run had all sections; then a ratio that was not measured is a miss.
    """
    lines = [f"failed: {name}: {error}" for name, error in outcome.failed.items()]
    for verdict in verdicts:
        promise = verdict.promise
        if promise.ratio and (verdict.kept is False or (whole and verdict.kept is None)):
            figure = "not measured" if verdict.value is None else f"{verdict.value:.4g}"
            lines.append(f"missed: {promise.line}: {promise.what}: {figure}")
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
