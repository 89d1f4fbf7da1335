"""What is measured: each function makes the tables of one question."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.in_process import contenders_in_process
from benchmarks.load import ab, wrk
from benchmarks.probekit.faults import crowded, frozen, latency
from benchmarks.rounds import Contender, interleave, note
from benchmarks.run import Plan, Section, SectionMaker, postgresql
from benchmarks.scraping import scrape_figures
from benchmarks.servers import STOCK, Server, running

__all__ = ["SECTIONS"]

_APP: Final = "benchmarks.contenders.{}:app"
_LATENCIES: Final = ("p50_ms", "p95_ms", "p99_ms", "rps", "failed")

#: The guide's own commands, by endpoint and load generator.
_GUIDE: Final[Mapping[str, tuple[int, int]]] = {
    "live": (10_000, 100),
    "ready": (1000, 50),
    "metrics": (1000, 50),
}


def guide(plan: Plan) -> Iterator[Section]:
    """The guide's chapter 6, command by command, on both databases."""
    with ExitStack() as stack:
        url, pids = stack.enter_context(postgresql())
        services = {
            "SQLite": stack.enter_context(running("wsgi:app", ready="/health/ready")),
            "PostgreSQL": stack.enter_context(
                running("wsgi:app", env={"DATABASE_URL": url}, ready="/health/ready")
            ),
        }
        rounds = 1 if plan.quick else plan.rounds
        seconds = 2 if plan.quick else 10
        for endpoint, (requests, concurrency) in _GUIDE.items():
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
                    name: partial(load, server.url(path)) for name, server in services.items()
                }
                tool = command.split()[0]
                yield Section(
                    f"guide_{endpoint}_{tool}",
                    f"`{path}` under the guide's `{tool}`",
                    command,
                    _LATENCIES,
                    "p99_ms",
                    interleave(contenders, rounds=rounds, quiet=plan.quiet, roots=tuple(pids())),
                )
        ready = services["PostgreSQL"].url("/health/ready")
        yield Section(
            "ready_c10",
            "`/health/ready` on PostgreSQL, ten at a time",
            "ab -n 2000 -c 10 http://localhost:8000/health/ready",
            _LATENCIES,
            "p99_ms",
            interleave(
                {"PostgreSQL": partial(ab, ready, requests=2000, concurrency=10)},
                rounds=rounds,
                quiet=plan.quiet,
                roots=tuple(pids()),
            ),
        )


def in_process(plan: Plan) -> Iterator[Section]:
    """What observing a request costs, without a socket."""
    names = {
        "bare WSGI": "bare_wsgi",
        "bare Flask": "bare_flask",
        "ours, metrics": "metrics_only",
        "ours, everything": "everything",
        "textbook": "textbook",
        "prometheus-flask-exporter": "exporter",
    }
    if not plan.quick:
        names |= {"hooks with .labels()": "labels", "OpenTelemetry metrics": "otel"}
    turns = 200 if plan.quick else 400
    with contenders_in_process(names, turns=turns) as contenders:
        rows = interleave(contenders, rounds=plan.rounds, quiet=plan.quiet)
    yield Section(
        "in_process",
        "One request of a Flask JSON route, in process, each beside bare Flask",
        f"python -m benchmarks --only in_process  # {turns} turns of 25 requests a round",
        ("cpu_us", "over_bare_us", "over_bare_percent", "other_threads_us"),
        "cpu_us",
        rows,
    )


def over_http(plan: Plan) -> Iterator[Section]:
    """The same route over HTTP, on one and the same stock worker, and on ours."""
    apps: dict[str, tuple[str, tuple[str, ...]]] = {
        "bare Flask": ("bare_flask", STOCK),
        "ours, everything": ("everything", STOCK),
        "ours, on our worker": ("everything", ()),
        "textbook": ("textbook", STOCK),
    }
    if not plan.quick:
        apps["bare WSGI"] = "bare_wsgi", STOCK
        apps["prometheus-flask-exporter"] = "exporter", STOCK
        apps["OpenTelemetry metrics"] = "otel", STOCK
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(running(_APP.format(module), args=args))
            for name, (module, args) in apps.items()
        }
        seconds = 2 if plan.quick else 3
        for connections in (10,) if plan.quick else (10, 100):
            contenders: dict[str, Contender] = {
                name: partial(
                    wrk,
                    server.url("/things/1"),
                    connections=connections,
                    seconds=seconds,
                    threads=2,
                )
                for name, server in servers.items()
            }
            yield Section(
                f"http_c{connections}",
                f"A Flask JSON route over HTTP, {connections} connections kept alive",
                f"wrk -t2 -c{connections} -d{seconds}s http://localhost:8000/things/1",
                ("rps", "p50_ms", "p99_ms", "failed"),
                "rps",
                interleave(contenders, rounds=plan.rounds, quiet=plan.quiet),
            )


def liveness(plan: Plan) -> Iterator[Section]:
    """The liveness endpoint beside what gunicorn can do at all."""
    with ExitStack() as stack:
        servers: dict[str, Server] = {
            "ours": stack.enter_context(running("wsgi:app")),
            "bare WSGI, gthread": stack.enter_context(
                running(_APP.format("bare_wsgi"), args=STOCK)
            ),
            "Flask, gthread": stack.enter_context(running(_APP.format("bare_flask"), args=STOCK)),
        }
        requests = 5000 if plan.quick else 10_000
        contenders: dict[str, Contender] = {
            name: partial(ab, server.url("/health/live"), requests=requests, concurrency=100)
            for name, server in servers.items()
        }
        yield Section(
            "liveness",
            "`/health/live`, a connection a request",
            f"ab -n {requests} -c 100 http://localhost:8000/health/live",
            _LATENCIES,
            "rps",
            interleave(contenders, rounds=plan.rounds, quiet=plan.quiet),
        )


def faults(plan: Plan) -> Iterator[Section]:
    """Liveness while the database hangs, threads are busy, and clients misbehave."""
    many = 64
    busy = {"busy": 16}
    hostile = {"silent": many, "half_sent": many, "lingering": many}
    cases: dict[str, tuple[dict[str, int], bool]] = {
        "nothing": ({}, False),
        "database_hangs_64_pollers": ({"pollers": many}, True),
        "threads_busy": (busy, False),
        "silent": ({"silent": many}, False),
        "half_sent": ({"half_sent": many}, False),
        "lingering": ({"lingering": many}, False),
        "all_at_once": ({**busy, **hostile, "pollers": many}, True),
    }
    with ExitStack() as stack:
        url, pids = stack.enter_context(postgresql())
        database = {"DATABASE_URL": url}
        servers = {"ours": stack.enter_context(running(_APP.format("service"), env=database))}
        if not plan.quick:
            servers["textbook, gthread"] = stack.enter_context(
                running(_APP.format("textbook"), args=STOCK, env=database)
            )
        for case, (counts, hang) in cases.items():
            note(f"  faults: {case}")
            contenders: dict[str, Contender] = {
                name: partial(_under, server, counts, pids if hang else list, quick=plan.quick)
                for name, server in servers.items()
            }
            yield Section(
                f"faults_{case}",
                f"`/health/live` meanwhile: {case.replace('_', ' ')}",
                "python -m benchmarks.probekit URL "
                + " ".join(f"--{k.replace('_', '-')} {n}" for k, n in counts.items())
                + (" --freeze PIDS" if hang else ""),
                ("p50_ms", "p99_ms", "max_ms", "failed", "late_ms"),
                "p99_ms",
                interleave(
                    contenders, rounds=1 if plan.quick else min(3, plan.rounds), quiet=plan.quiet
                ),
            )


def _under(
    server: Server, counts: Mapping[str, int], hung: Callable[[], list[int]], *, quick: bool
) -> Mapping[str, float]:
    with ExitStack() as stack:
        stack.enter_context(frozen(hung()))
        url = server.url("/health/live")
        paths = {"busy": "/slow?seconds=1", "pollers": "/health/ready"}
        stack.enter_context(crowded(url, counts, paths))
        return latency(url, rate=50, seconds=2 if quick else 4, timeout=5)


def scrape(plan: Plan) -> Iterator[Section]:
    """The scrape beside stock's, from small to large."""
    cases: list[tuple[int, int, int]] = [(8, 600, 0), (2, 20, 500)]
    if not plan.quick:
        cases = [(2, 20, 0), (2, 100, 500), (8, 100, 0), (8, 600, 0), (16, 600, 0), (8, 2000, 0)]
    for workers, sets, dead in cases:
        note(f"  scrape: {workers} workers × {sets} label sets, {dead} recycled")
        measure: Callable[[], dict[str, float]] = partial(
            scrape_figures, workers=workers, sets=sets, dead=dead
        )
        rows = interleave(
            {f"{workers} × {sets}": measure},
            rounds=1 if plan.quick or sets > 1000 or dead else min(3, plan.rounds),
            quiet=plan.quiet,
        )
        (row,) = rows.values()
        yield Section(
            f"scrape_{workers}x{sets}" + (f"_{dead}_recycled" if dead else ""),
            f"Scrape of {workers} workers × {sets} label sets ({sets * 18} lines)"
            + (f", {dead} recycled workers" if dead else ""),
            f"python -m benchmarks.scraping {workers} {sets} {dead} 1",
            tuple(row.readings[0].values),
            "all_ms",
            rows,
        )


def memory(plan: Plan) -> Iterator[Section]:
    """Proportional set size of one worker after some requests and a scrape."""
    apps: dict[str, tuple[str, tuple[str, ...]]] = {
        "bare Flask": (_APP.format("bare_flask"), STOCK),
        "ours, Monitoring(app)": (_APP.format("everything"), ()),
        "the service": ("wsgi:app", ()),
    }
    if not plan.quick:
        apps["prometheus-flask-exporter"] = _APP.format("exporter"), STOCK
        apps["OpenTelemetry metrics"] = _APP.format("otel"), STOCK

    def worker_mib(app: str, args: tuple[str, ...]) -> Mapping[str, float]:
        with running(app, args=args) as server:
            for _ in range(100):
                server.get("/things/1")
                server.get("/health/live")
            server.get("/health/metrics")
            sizes = [_pss_mib(each.pid) for each in server.workers()]
        return {"pss_mib": sum(sizes) / len(sizes)}

    contenders: dict[str, Contender] = {
        name: partial(worker_mib, app, args) for name, (app, args) in apps.items()
    }
    yield Section(
        "memory",
        "Memory of one worker",
        "/proc/PID/smaps_rollup after 100 requests and a scrape",
        ("pss_mib",),
        "pss_mib",
        interleave(contenders, rounds=1, quiet=plan.quiet),
    )


def _pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError("no Pss")


SECTIONS: Final[Mapping[str, SectionMaker]] = {
    "in_process": in_process,
    "liveness": liveness,
    "over_http": over_http,
    "scrape": scrape,
    "faults": faults,
    "guide": guide,
    "memory": memory,
}
