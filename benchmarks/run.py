"""How a run is made: how often, how long, and what is left out when there is little time."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks.fleet import Fleet
from benchmarks.noise import Quiet
from benchmarks.rounds import Contender, Measured, interleave, note

__all__ = ["Outcome", "Plan", "Section", "SectionMaker", "take"]


@dataclass(frozen=True, slots=True)
class Plan:
    """
    The size of a run.

    Attributes:
        quick: Less than two minutes: fewer rounds, fewer peers, shorter loads, no curves.
        commit: What is measured; asked for once, as others may commit meanwhile.
        fleet: The servers that sections share.
    """

    rounds: int
    quick: bool
    quiet: Quiet
    commit: str
    fleet: Fleet

    def measure(
        self, contenders: Mapping[str, Contender], *, rounds: int | None = None
    ) -> dict[str, Measured]:
        """Return what *contenders*, taking turns, gave in *rounds* or the run's own number."""
        return interleave(
            contenders,
            rounds=self.rounds if rounds is None else rounds,
            quiet=self.quiet,
            roots=self.fleet.roots(),
        )


@dataclass(frozen=True, slots=True)
class Section:
    """
    One table of the report.

    Attributes:
        command: How one reading was taken.
        quantities: The columns, in order, each with its unit as the end of its name.
        chart: The quantity that the chart of bars shows; empty for a table without one.
    """

    name: str
    title: str
    command: str
    quantities: tuple[str, ...]
    chart: str
    rows: dict[str, Measured]


SectionMaker = Callable[[Plan], Iterator[Section]]


@dataclass(slots=True)
class Outcome:
    """
    What a run has so far.

    Attributes:
        failed: Why a section ended early, by its name; the tables it had made are kept.
        seconds: How long it has taken.
    """

    sections: dict[str, Section] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def take(
    makers: Mapping[str, SectionMaker], plan: Plan, keep: Callable[[Outcome], object]
) -> Outcome:
    """
    Make all tables, and call *keep* after each: a run cut short has those it made.

    A section that raises does not take the others with it.
    """
    outcome = Outcome()
    began = time.monotonic()
    for number, (name, make) in enumerate(makers.items(), 1):
        started = time.monotonic()
        note(f"[{number}/{len(makers)}] {name}, after {started - began:.0f} s …")
        try:
            for section in make(plan):
                outcome.sections[section.name] = section
                outcome.seconds = time.monotonic() - began
                keep(outcome)
        except Exception as error:
            outcome.failed[name] = f"{type(error).__name__}: {error}"
            note(f"{name} FAILED\n{traceback.format_exc()}")
        note(f"  {name}: {time.monotonic() - started:.0f} s")
    outcome.seconds = time.monotonic() - began
    keep(outcome)
    return outcome
