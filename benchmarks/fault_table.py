"""
The responses of probes while a database fails, ours beside a stock worker with a pool.

`python -m benchmarks.fault_table` prints docs/faults.md's tables; it takes about eight minutes.

Each fault is real and lasts ten seconds: the server is stopped or frozen, or the relay in between
stops forwarding. Meanwhile 8 clients poll readiness, ten times a second each, and one
more process sends 50 liveness probes a second on schedule, whether or not the last was answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http.client import HTTPMessage
from typing import Final

from benchmarks.fleet import postgresql
from benchmarks.probekit.faults import crowded, frozen, latency
from benchmarks.servers import STOCK, Server, running
from tests.support.postgres import PostgreSQL, running_postgresql
from tests.support.relay import Relay
from tests.support.service import Answer, migrate
from tests.support.watch import Watch, watching

__all__ = ["main"]

_FAULT_SECONDS: Final = 10.0
_PATIENCE_SECONDS: Final = 40.0
_CONTENDERS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "ours": ("benchmarks.contenders.service:app", ()),
    "stock gthread, plain pool": ("benchmarks.contenders.textbook:app", STOCK),
}


class Target:
    """A server as `tests.support.watch` asks it, and its share of the machine."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def get(self, path: str, *, timeout: float) -> Answer:
        """Ask it; *timeout* is the watch's, and the server's own is the same 20 s."""
        status, body = self._server.get(path)
        return Answer(status, HTTPMessage(), body)

    def threads(self) -> int:
        return sum(worker.num_threads() for worker in self._server.workers())


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the database, and how it ends."""

    name: str
    begin: Callable[[PostgreSQL, Relay], object]
    end: Callable[[PostgreSQL, Relay], object]


FAULTS: Final = (
    Fault(
        "server stopped, connections reset",
        lambda p, r: p.stop("immediate"),
        lambda p, r: p.start(),
    ),
    Fault("server frozen (SIGSTOP)", lambda p, r: p.freeze(), lambda p, r: p.resume()),
    Fault(
        "accepts, then says nothing; open ones too",
        lambda p, r: r.fall_silent(),
        lambda p, r: r.speak(),
    ),
    Fault(
        "open connections half-open, new ones work", lambda p, r: r.freeze_open(), lambda p, r: None
    ),
    Fault(
        "database refuses new connections",
        lambda p, r: _forbid(p),
        lambda p, r: p.execute("ALTER DATABASE bench WITH ALLOW_CONNECTIONS true"),
    ),
)


def _forbid(server: PostgreSQL) -> None:
    server.execute("ALTER DATABASE bench WITH ALLOW_CONNECTIONS false")
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'bench'")


def main() -> None:
    _print_row(
        "fault",
        "service",
        "503 after",
        "slowest answer",
        "liveness P50 / P99 / max ms",
        "lost",
        "threads",
        "connections",
        "200 after its end",
    )
    _print_row(*["---"] * 9)
    for fault in FAULTS:
        for name, (app, args) in _CONTENDERS.items():
            _print_row(fault.name, name, *_outcome(fault, app, args))
    print()
    _print_row("service", "P50 ms", "P99 ms", "max ms", "failed of 400")
    _print_row(*["---"] * 5)
    for name, (app, args) in _CONTENDERS.items():
        _print_row(name, *_besieged(app, args))


def _outcome(fault: Fault, app: str, args: tuple[str, ...]) -> list[str]:
    with ExitStack() as stack:
        database = stack.enter_context(running_postgresql())
        url = database.create_database("bench")
        migrate({"DATABASE_URL": url})
        relay = Relay(database.port)
        stack.callback(relay.close)
        env = {"DATABASE_URL": url.replace(f":{database.port}/", f":{relay.port}/")}
        server = stack.enter_context(running(app, args=args, env=env, ready="/health/ready"))
        target = Target(server)
        watch = stack.enter_context(watching(target, pollers=8))  # type: ignore[arg-type]
        watch.until_all_ready()
        threads, connections = target.threads(), relay.open
        began = time.monotonic()
        fault.begin(database, relay)
        found = latency(server.url("/health/live"), rate=50, seconds=_FAULT_SECONDS, timeout=5)
        during = f"{threads} → {target.threads()}", f"{connections} → {relay.open}"
        time.sleep(max(0.0, began + _FAULT_SECONDS - time.monotonic()))
        lost = len(watch.lost)
        fault.end(database, relay)
        ended = time.monotonic()
        again = _ready_again(watch, ended)
        return [
            _first_refusal(watch, began, ended),
            f"{max(p.seconds for p in watch.ready):.2f} s",
            f"{found['p50_ms']:.1f} / {found['p99_ms']:.0f} / {found['max_ms']:.0f}",
            f"{lost + found['failed']:.0f}",
            *during,
            again,
        ]


def _first_refusal(watch: Watch, began: float, ended: float) -> str:
    told = [p.sent_at + p.seconds for p in watch.ready if p.status == 503]
    told = [moment for moment in told if moment >= began]
    if not told:
        return "never"
    return f"{min(told) - began:.1f} s" + ("" if min(told) < ended else " (after its end)")


def _ready_again(watch: Watch, ended: float) -> str:
    """Return when the last response other than 200 came, once all have been 200 for a while."""
    with suppress(AssertionError):
        watch.until_all_ready()
        late = [p.sent_at + p.seconds for p in watch.ready if p.status != 200 or p.seconds > 1]
        return f"{max(0.0, max(late, default=ended) - ended):.1f} s"
    return f"> {_PATIENCE_SECONDS:.0f} s"


def _besieged(app: str, args: tuple[str, ...]) -> list[str]:
    """Two workers, every thread busy, 50 readiness probes during a hang, 200 silent clients."""
    counts = {"busy": 16, "pollers": 50, "silent": 200}
    paths = {"busy": "/slow?seconds=1", "pollers": "/health/ready"}
    with ExitStack() as stack:
        url, pids = stack.enter_context(postgresql())
        server = stack.enter_context(
            running(app, args=args, env={"DATABASE_URL": url}, ready="/health/ready")
        )
        stack.enter_context(frozen(pids()))
        stack.enter_context(crowded(server.url("/health/live"), counts, paths))
        found = latency(server.url("/health/live"), rate=50, seconds=8, timeout=5)
    return [f"{found[key]:.1f}" for key in ("p50_ms", "p99_ms", "max_ms")] + [
        f"{found['failed']:.0f}"
    ]


def _print_row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
