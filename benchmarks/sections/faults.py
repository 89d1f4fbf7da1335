"""Liveness while the database hangs, threads are busy, and clients misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from benchmarks.fleet import contender
from benchmarks.probekit.faults import crowded, frozen, latency
from benchmarks.rounds import note
from benchmarks.run import Plan, Section
from benchmarks.servers import Server

__all__ = ["faults"]

_MANY: Final = 64
#: Twice the threads of all workers.
_BUSY: Final[Mapping[str, int]] = {"busy": 16}
_HOSTILE: Final[Mapping[str, int]] = {"silent": _MANY, "half_sent": _MANY, "lingering": _MANY}
_RATE: Final = 100.0


@dataclass(frozen=True, slots=True)
class _Case:
    """
    A combination of faults.

    Attributes:
        clients: How many of each kind.
        hang: Whether the processes of the database are stopped by SIGSTOP.
    """

    clients: Mapping[str, int] = field(default_factory=dict)
    hang: bool = False

    @property
    def command(self) -> str:
        options = [f"--{kind.replace('_', '-')} {n}" for kind, n in self.clients.items()]
        options += ["--freeze PIDS"] if self.hang else []
        return " ".join(["python -m benchmarks.probekit URL", f"--rate {_RATE:.0f}", *options])


_CASES: Final[Mapping[str, _Case]] = {
    "nothing": _Case(),
    "database_hangs_64_pollers": _Case({"pollers": _MANY}, hang=True),
    "threads_busy": _Case(_BUSY),
    "silent": _Case({"silent": _MANY}),
    "half_sent": _Case({"half_sent": _MANY}),
    "lingering": _Case({"lingering": _MANY}),
    "all_at_once": _Case({**_BUSY, **_HOSTILE, "pollers": _MANY}, hang=True),
}


def faults(plan: Plan) -> Iterator[Section]:
    """Each fault alone, then all of them at once."""
    ours = plan.fleet.server(contender("service", postgresql=True))
    peer = contender("textbook", stock=True, postgresql=True)
    pids = plan.fleet.database()[1]
    for name, case in _CASES.items():
        note(f"  faults: {name}")
        under = partial(_under, case=case, pids=pids if case.hang else list)
        rows = plan.measure(
            {"ours": partial(under, ours, seconds=_quick_seconds(name) if plan.quick else 4)},
            rounds=1 if plan.quick else 3,
        )
        if not plan.quick:
            # Once: it takes its timeout, and is slower by more than any turn could make it.
            server = plan.fleet.server(peer)
            peers = {"textbook, gthread": partial(under, server, seconds=2)}
            rows |= plan.measure(peers, rounds=1)
        yield Section(
            f"faults_{name}",
            f"`/health/live` meanwhile: {name.replace('_', ' ')}",
            case.command,
            ("p50_ms", "p99_ms", "max_ms", "failed", "late_ms"),
            "p99_ms",
            rows,
        )


def _quick_seconds(case: str) -> float:
    """Return 2 for what the contract's line asks, and 1 for its parts."""
    return 2.0 if case == "all_at_once" else 1.0


def _under(
    server: Server, *, case: _Case, pids: Callable[[], list[int]], seconds: float
) -> Mapping[str, float]:
    with ExitStack() as stack:
        stack.enter_context(frozen(pids()))
        url = server.url("/health/live")
        paths = {"busy": "/slow?seconds=1", "pollers": "/health/ready"}
        stack.enter_context(crowded(url, case.clients, paths))
        return latency(url, rate=_RATE, seconds=seconds, timeout=5)
