"""
Measure what one replica costs, for docs/capacity.md: `python -m deploy.capacity`.

Starts the real service on loopback with the settings of the manifests and a real PostgreSQL, calls
it a known number of times, and reads memory, CPU time, series and connections. Figures are the
kernel's and the service's own. Other work on the machine only makes the CPU times too high.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg

from tests.support.postgres import PostgreSQL, running_postgresql
from tests.support.service import Service, migrate, running_service

__all__ = ["main"]

MEBIBYTE = 1024**2
READ = "/api/v1/agents/agent-0"
CONNECTIONS = 8


def memory(pid: int) -> str:
    """Return the memory of one process: its own, and with its share of what it shares."""
    full = psutil.Process(pid).memory_full_info()
    return f"{full.uss / MEBIBYTE:.1f} MiB own, {full.pss / MEBIBYTE:.1f} MiB with its share"


def cpu_seconds(service: Service) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in service.workers()]
    return sum(each.user + each.system for each in times)


def call(service: Service, method: str, path: str, body: object = None) -> None:
    """Send one request; raise RuntimeError when it fails, which would make every figure wrong."""
    answer = service.request(method, path, body)
    if answer.status not in {200, 201}:
        raise RuntimeError(f"{method} {path}: {answer}")


def make_agents(service: Service, count: int, *, first: int = 0) -> None:
    for number in range(first, first + count):
        agent = {"agent_id": f"agent-{number}", "name": "Measured", "steps": []}
        call(service, "POST", "/api/v1/agents", agent)
        call(service, "POST", f"/api/v1/agents/agent-{number}/executions", {})


def series_of(body: bytes) -> int:
    return sum(1 for line in body.splitlines() if line and not line.startswith(b"#"))


def report_metrics(service: Service, directory: Path, label: str) -> int:
    body = service.get("/health/metrics").body
    series = series_of(body)
    on_disk = sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())
    print(
        f"{label}: {series} series, {len(body) / 1024:.0f} KiB a scrape,"
        f" {len(gzip.compress(body)) / 1024:.0f} KiB gzipped;"
        f" metrics directory {on_disk / 1024:.0f} KiB"
    )
    return series


def report_processes(service: Service, label: str) -> None:
    print(f"{label}: arbiter {memory(service.arbiter)}")
    for pid in service.workers():
        print(f"{label}: worker {memory(pid)}")


def cost_of(service: Service, label: str, calls: int, method: str, path: str) -> None:
    """Print the workers' CPU time for a call, sent as a balancer sends: on kept connections."""
    before = cpu_seconds(service)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        each = calls // CONNECTIONS
        for sent in [pool.submit(send, service, each, method, path) for _ in range(CONNECTIONS)]:
            sent.result()
    spent = (cpu_seconds(service) - before) / (each * CONNECTIONS)
    print(f"{label}: {spent * 1000:.2f} ms of CPU a request, over {calls}")


def send(service: Service, calls: int, method: str, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    body, headers = ("{}", {"Content-Type": "application/json"}) if method == "POST" else (None, {})
    for _ in range(calls):
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status not in {200, 201}:
            raise RuntimeError(f"{method} {path}: {answer.status}")
    connection.close()


@contextmanager
def measured(database: str, **settings: str) -> Iterator[tuple[Service, Path]]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:  # as emptyDir
        metrics = Path(directory, "metrics")
        env = {
            "DATABASE_URL": database,
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
            "ATOM_METRICS_MAX_IDS": "100000",
            **settings,
        }
        migrate(env)
        with running_service(Path(directory), env=env) as service:
            yield service, metrics


def connections(server: PostgreSQL, database: str) -> int:
    with psycopg.connect(server.url()) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [database]
        ).fetchone()
    return int(found[0]) if found else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--calls", type=int, default=2000)
    options = parser.parse_args()
    with running_postgresql() as server:
        url = server.create_database("capacity")
        with measured(url, WEB_CONCURRENCY="2", ATOM_THREADS="4", ATOM_DB_POOL_SIZE="5") as (
            service,
            metrics,
        ):
            report_processes(service, "just started")
            make_agents(service, 1)
            base = report_metrics(service, metrics, "one agent")
            cost_of(service, "read an agent", options.calls, "GET", READ)
            cost_of(
                service,
                "run an agent of no steps",
                options.calls // 4,
                "POST",
                f"{READ}/executions",
            )
            cost_of(service, "liveness", options.calls, "GET", "/health/live")
            cost_of(service, "readiness", options.calls, "GET", "/health/ready")
            report_processes(service, "after the calls")
            make_agents(service, options.agents, first=1)
            more = report_metrics(service, metrics, f"{options.agents} more agents")
            print(f"series an agent: {(more - base) / options.agents:.1f}")
            report_processes(service, f"with {options.agents + 1} agents")
            cost_of(service, "scrape", 80, "GET", "/health/metrics")
            print(f"connections now: {connections(server, 'capacity')}")
            lines = [line for line in service.output if b'"http_request"' in line]
            print(f"access line: {sum(map(len, lines)) / len(lines):.0f} bytes")
        with measured(url, WEB_CONCURRENCY="2", ATOM_THREADS="32") as (service, _):
            for _ in range(options.calls // 4):
                call(service, "GET", READ)
            report_processes(service, "with 32 threads")


if __name__ == "__main__":
    main()
