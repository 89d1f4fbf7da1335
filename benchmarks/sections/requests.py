"""The cost of observing a request, in process and over HTTP, and the speed of liveness."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from benchmarks.fleet import SERVICE, contender
from benchmarks.in_process import contenders_in_process
from benchmarks.load import ab, wrk
from benchmarks.run import Plan, Section
from benchmarks.sections.columns import LATENCIES

__all__ = ["in_process", "liveness", "over_http"]

#: The contenders that are also measured with a hundred connections.
_CROWDED: Final = ("bare Flask", "ours, everything", "ours, on our worker", "textbook")


def in_process(plan: Plan) -> Iterator[Section]:
    """The cost of observing a request, without a socket."""
    names = {
        "bare Flask": "bare_flask",
        "ours, metrics": "metrics_only",
        "ours, everything": "everything",
        "textbook": "textbook",
    }
    if not plan.quick:
        names |= {
            "bare WSGI": "bare_wsgi",
            "hooks with .labels()": "labels",
            "prometheus-flask-exporter": "exporter",
            "OpenTelemetry metrics": "otel",
        }
    turns = 120 if plan.quick else 250
    with contenders_in_process(names, turns=turns) as contenders:
        rows = plan.measure(contenders)
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
    wanted = {
        "bare Flask": contender("bare_flask", stock=True),
        "ours, everything": contender("everything", stock=True),
    }
    if not plan.quick:
        wanted |= {
            "ours, on our worker": contender("everything"),
            "textbook": contender("textbook", stock=True, postgresql=True),
            "bare WSGI": contender("bare_wsgi", stock=True),
            "prometheus-flask-exporter": contender("exporter", stock=True),
            "OpenTelemetry metrics": contender("otel", stock=True),
        }
    servers = {name: plan.fleet.server(each) for name, each in wanted.items()}
    seconds = 1 if plan.quick else 2
    for connections in (10, 100):
        if connections == 100:  # what peers cost is seen at ten
            servers = {name: servers[name] for name in _CROWDED if name in servers}
        load = partial(wrk, connections=connections, seconds=seconds, threads=2)
        yield Section(
            f"http_c{connections}",
            f"A Flask JSON route over HTTP, {connections} connections kept alive",
            f"wrk -t2 -c{connections} -d{seconds}s http://localhost:8000/things/1",
            ("rps", "p50_ms", "p99_ms", "failed"),
            "rps",
            plan.measure(
                {name: partial(load, each.url("/things/1")) for name, each in servers.items()},
                # In a quick run too: the share needs rounds more than it needs seconds.
                rounds=3 if plan.quick and connections == 100 else 5,
            ),
        )


def liveness(plan: Plan) -> Iterator[Section]:
    """The liveness endpoint beside the limit of gunicorn."""
    wanted = {
        "ours": SERVICE,
        "bare WSGI, gthread": contender("bare_wsgi", stock=True),
        "Flask, gthread": contender("bare_flask", stock=True),
    }
    requests = 5000 if plan.quick else 10_000
    load = partial(ab, requests=requests, concurrency=100)
    yield Section(
        "liveness",
        "`/health/live`, a connection a request",
        f"ab -n {requests} -c 100 http://localhost:8000/health/live",
        LATENCIES,
        "rps",
        plan.measure(
            {
                name: partial(load, plan.fleet.server(each).url("/health/live"))
                for name, each in wanted.items()
            }
        ),
    )
