"""
The service's probes while its database and its disk break, for real.

Deadlines of the contract plus room for a loaded machine; what a probe says is exact.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.faults.counting import until_workers_are
from tests.support.load import occupied
from tests.support.polling import wait_until
from tests.support.postgres import PostgreSQL, running_postgresql
from tests.support.relay import Relay
from tests.support.service import Service, migrate
from tests.support.stalls import scaled
from tests.support.watch import watching

#: For what the contract bounds at 2 s; five times that, as this runs beside other things.
SOON = 10.0
#: Liveness is promised within 10 ms; a machine with two busy cores delays any process longer.
LIVE = 0.25


@pytest.fixture(scope="module")
def victim() -> Iterator[PostgreSQL]:
    """A server of this module's own: it is stopped and frozen."""
    with running_postgresql() as server:
        yield server


@pytest.fixture
def url(victim: PostgreSQL) -> str:
    address = victim.create_database("atom")
    migrate({"DATABASE_URL": address})
    return address


def database(body: dict[str, dict[str, dict[str, object]]]) -> dict[str, object]:
    return body["checks"]["database"]


def test_stopped_database(
    victim: PostgreSQL, url: str, start_service: Callable[..., Service]
) -> None:
    service = start_service(env={"DATABASE_URL": url})
    with watching(service) as watch:
        watch.until_all_ready()

        stopped_at = time.monotonic()
        victim.stop("immediate")
        refused = watch.until(503, stopped_at, seconds=SOON, unhealthy="database")
        victim.start()
        started_at = time.monotonic()
        watch.until(200, started_at, seconds=SOON)

    assert refused.body["status"] == "not_ready"
    assert database(refused.body)["healthy"] is False
    assert refused.body["checks"]["disk"]["healthy"] is True
    assert watch.lost == []
    assert watch.slowest_ready() < scaled(1.5)
    assert watch.live_quantile(0.99) < scaled(LIVE)


@pytest.mark.parametrize("pollers", [8, 64])
def test_frozen_database(
    victim: PostgreSQL, url: str, start_service: Callable[..., Service], pollers: int
) -> None:
    """One run in flight per worker, however many ask; nobody waits for it."""
    service = start_service(env={"DATABASE_URL": url, "WEB_CONCURRENCY": "2"})
    with watching(service, pollers=pollers) as watch:
        watch.until_all_ready()
        before = [psutil.Process(pid).num_threads() for pid in service.workers()]

        frozen_at = time.monotonic()
        victim.freeze()
        try:
            silent = watch.until(503, frozen_at, seconds=5 + 1.5 + SOON, unhealthy="database")
            during = [psutil.Process(pid).num_threads() for pid in service.workers()]
            scrape = service.get("/health/metrics")
        finally:
            victim.resume()
        resumed_at = time.monotonic()
        watch.until(200, resumed_at, seconds=SOON)

    assert database(silent.body)["message"] == "Database timeout after 5.0s"
    assert float(str(database(silent.body)["latency_ms"])) >= 5000
    assert silent.sent_at - frozen_at >= 4, "no verdict before the deadline"
    assert scrape.status == 200
    assert watch.lost == []
    assert watch.slowest_ready() < scaled(1.5)
    assert watch.live_quantile(0.99) < scaled(LIVE)
    assert all(now <= then + 3 for then, now in zip(before, during, strict=True))
    assert len(service.logged("health_check_unhealthy", check="database")) <= 2, "a line a worker"


def test_half_open_connections(
    victim: PostgreSQL, url: str, start_service: Callable[..., Service]
) -> None:
    relay = Relay(victim.port)
    try:
        env = {
            "DATABASE_URL": url.replace(f":{victim.port}/", f":{relay.port}/"),
            "ATOM_DB_CHECK_TIMEOUT_SECONDS": "1",
        }
        service = start_service(env=env)
        with watching(service) as watch:
            watch.until_all_ready()
            silent_at = time.monotonic()
            relay.fall_silent()
            silent = watch.until(503, silent_at, seconds=1 + 1.5 + SOON, unhealthy="database")
            relay.speak()
            watch.until(200, time.monotonic(), seconds=SOON)

        assert database(silent.body)["message"] == "Database timeout after 1.0s"
        assert watch.live_quantile(0.99) < scaled(LIVE)
        wait_until(lambda: relay.open <= 2 * 2, seconds=SOON)  # a check and a pool a worker
    finally:
        relay.close()


def test_exhausted_pool_is_not_a_dead_database(
    victim: PostgreSQL, url: str, start_service: Callable[..., Service]
) -> None:
    service = start_service(
        env={"DATABASE_URL": url, "ATOM_DB_POOL_SIZE": "1", "ATOM_DB_POOL_TIMEOUT_SECONDS": "1"}
    )
    # Both workers have seen their schema: that needs the pool, once.
    until_workers_are(service, 2)
    wait_until(lambda: all(service.get("/health/ready").status == 200 for _ in range(30)))
    with psycopg.connect(url) as blocker, ExitStack() as waiting:
        blocker.execute("LOCK TABLE agents IN ACCESS EXCLUSIVE MODE")

        def one_more() -> bool:
            waiting.enter_context(occupied(service, 1, "/api/v1/agents"))
            return service.sample("db_connections_active") == 2

        wait_until(one_more, seconds=40)
        busy = service.get("/health/ready")
        blocker.rollback()

    assert busy.status == 200
    assert service.get("/api/v1/agents").status == 200


def test_service_works_again_after_an_outage(
    victim: PostgreSQL, url: str, start_service: Callable[..., Service]
) -> None:
    """Requests, not only probes: the pool finds back without a restart of the worker."""
    service = start_service(env={"DATABASE_URL": url})
    assert service.get("/api/v1/agents").status == 200
    workers = set(service.workers())

    victim.stop("immediate")
    during = service.get("/api/v1/agents")
    victim.start()

    wait_until(lambda: service.get("/api/v1/agents").status == 200, seconds=SOON)
    assert during.status == 503
    assert during.headers["Content-Type"] == "application/problem+json"
    assert set(service.workers()) == workers


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"ATOM_DISK_MIN_FREE_GB": "100000000"}, r"GB free"),
        ({"ATOM_DISK_PATH": "gone"}, "Disk check failed"),
    ],
    ids=["below-the-minimum", "path-missing"],
)
def test_disk(
    start_service: Callable[..., Service], tmp_path: Path, env: dict[str, str], message: str
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    if "ATOM_DISK_PATH" in env:
        env = {"ATOM_DISK_PATH": str(gone)}
    service = start_service(env=env)
    shutil.rmtree(gone)

    answer = wait_until(
        lambda: (found := service.get("/health/ready")).status == 503 and found, seconds=SOON
    )

    assert answer
    checks = answer.json()["checks"]
    assert checks["disk"]["healthy"] is False
    assert message in checks["disk"]["message"]
    assert str(tmp_path) not in answer.body.decode()
    assert checks["database"]["healthy"] is True
    assert service.get("/health/ready?exclude=disk").status == 200
