"""Proportional set size of one worker after some requests and a scrape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks.fleet import SERVICE, Wanted, contender
from benchmarks.rounds import Contender
from benchmarks.run import Plan, Section
from benchmarks.servers import STOCK, running

__all__ = ["memory"]


def memory(plan: Plan) -> Iterator[Section]:
    """One server after the other, each alone: shared pages would lower its figure."""
    wanted = {
        "bare Flask": contender("bare_flask", stock=True),
        "ours, Monitoring(app)": contender("everything"),
        "the service": SERVICE,
    }
    if not plan.quick:
        wanted["prometheus-flask-exporter"] = contender("exporter", stock=True)
        wanted["OpenTelemetry metrics"] = contender("otel", stock=True)
    contenders: dict[str, Contender] = {
        name: partial(_worker_mib, each) for name, each in wanted.items()
    }
    yield Section(
        "memory",
        "Memory of one worker",
        "/proc/PID/smaps_rollup after 100 requests and a scrape",
        ("pss_mib",),
        "pss_mib",
        plan.measure(contenders, rounds=1),
    )


def _worker_mib(wanted: Wanted) -> Mapping[str, float]:
    args = STOCK if wanted.stock else ()
    with running(wanted.app, args=args, ready=wanted.ready) as server:
        for _ in range(100):
            server.get("/things/1")
            server.get("/health/live")
        server.get("/health/metrics")
        sizes = [_pss_mib(each.pid) for each in server.workers()]
    return {"pss_mib": sum(sizes) / len(sizes)}


def _pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError("no Pss")
