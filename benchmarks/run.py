"""How a run is made: how often, how long, and what is left out when there is little time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from benchmarks.noise import Quiet
from benchmarks.rounds import Measured
from benchmarks.servers import ROOT
from tests.postgres import running_postgresql

__all__ = ["Plan", "Section", "SectionMaker", "postgresql"]


@dataclass(frozen=True, slots=True)
class Plan:
    """
    The size of a run.

    Attributes:
        quick: Some minutes: fewer rounds, fewer peers, shorter loads.
        commit: What is measured; asked for once, as others may commit meanwhile.
    """

    rounds: int
    quick: bool
    quiet: Quiet
    commit: str


@dataclass(frozen=True, slots=True)
class Section:
    """
    One table of the report.

    Attributes:
        command: How one reading was taken.
        quantities: The columns, in order, each with its unit as the end of its name.
        chart: The quantity that the chart shows.
    """

    name: str
    title: str
    command: str
    quantities: tuple[str, ...]
    chart: str
    rows: dict[str, Measured]


SectionMaker = Callable[[Plan], Iterator[Section]]


@contextmanager
def postgresql() -> Iterator[tuple[str, Callable[[], list[int]]]]:
    """Run a PostgreSQL with the platform's schema; give its URL, and a function for its pids."""
    with running_postgresql() as server:
        url = server.create_database("bench")
        subprocess.run(
            [sys.executable, "-m", "atom_platform", "migrate"],
            cwd=ROOT,
            env={"DATABASE_URL": url},
            check=True,
            capture_output=True,
            timeout=60,
        )

        def pids() -> list[int]:
            pidfile = next(server.directory.glob("**/postmaster.pid"))
            postmaster = psutil.Process(int(pidfile.read_text().splitlines()[0]))
            return [postmaster.pid, *(c.pid for c in postmaster.children(recursive=True))]

        yield url, pids
