"""The guide's chapter 6, command by command, on both databases; and readiness at two loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from benchmarks.fleet import SERVICE, Wanted, contender
from benchmarks.load import ab, wrk
from benchmarks.rounds import Contender
from benchmarks.run import Plan, Section
from benchmarks.sections.columns import LATENCIES

__all__ = ["guide"]

_POSTGRESQL: Final = replace(SERVICE, postgresql=True)
_SERVICES: Final[Mapping[str, Wanted]] = {"SQLite": SERVICE, "PostgreSQL": _POSTGRESQL}

#: Requests and concurrency of the guide's own `ab`, by endpoint.
_COMMANDS: Final[Mapping[str, tuple[int, int]]] = {
    "live": (10_000, 100),
    "ready": (1000, 50),
    "metrics": (1000, 50),
}


def guide(plan: Plan) -> Iterator[Section]:
    """Each command of the guide, then readiness ten at a time, which is the contract's."""
    rounds = 1 if plan.quick else 2
    seconds = 1 if plan.quick else 10  # ten are the guide's
    for endpoint, (requests, concurrency) in _COMMANDS.items():
        path = f"/health/{endpoint}"
        for command, load in (
            (
                f"ab -n {requests} -c {concurrency} http://localhost:8000{path}",
                partial(ab, requests=requests, concurrency=concurrency),
            ),
            (
                f"wrk -t10 -c10 -d{seconds}s http://localhost:8000{path}",
                partial(wrk, connections=10, seconds=seconds),
            ),
        ):
            contenders: dict[str, Contender] = {
                name: partial(load, plan.fleet.server(wanted).url(path))
                for name, wanted in _SERVICES.items()
            }
            tool = command.split()[0]
            yield Section(
                f"guide_{endpoint}_{tool}",
                f"`{path}` under the guide's `{tool}`",
                command,
                LATENCIES,
                "p99_ms",
                plan.measure(contenders, rounds=rounds),
            )
    yield from _readiness(plan)


def _readiness(plan: Plan) -> Iterator[Section]:
    wanted = {"PostgreSQL": _POSTGRESQL}
    if not plan.quick:
        wanted["textbook, a pool in the request"] = contender(
            "textbook", stock=True, postgresql=True
        )
    for requests, concurrency in ((2000, 10), (1000, 50)):
        load = partial(ab, requests=requests, concurrency=concurrency)
        yield Section(
            f"ready_c{concurrency}",
            f"`/health/ready` on PostgreSQL, {concurrency} at a time",
            f"ab -n {requests} -c {concurrency} http://localhost:8000/health/ready",
            LATENCIES,
            "p99_ms",
            plan.measure(
                {
                    name: partial(load, plan.fleet.server(each).url("/health/ready"))
                    for name, each in wanted.items()
                },
                rounds=3,
            ),
        )
