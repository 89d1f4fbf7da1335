"""Each reason of `gunicorn_worker_exits_total`, caused for real."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path

import pytest

from atom_platform.server.worker_exits import exit_reason, request_restart
from tests.support.load import workers_of
from tests.support.polling import wait_until
from tests.support.service import Service

Serve = Callable[..., Service]

REASONS = {"recycled", "timeout", "killed", "out_of_memory", "crashed", "terminated", "unknown"}


def exits(service: Service) -> dict[str, float]:
    """Return how many workers ended for each reason, those without any left out."""
    return {
        dict(labels)["reason"]: value
        for (name, labels), value in service.samples().items()
        if name == "gunicorn_worker_exits_total" and value
    }


def provoke(service: Service, path: str, *, timeout: float = 0.5) -> None:
    """Ask for something that ends the worker, so that no answer need come."""
    with contextlib.suppress(OSError, HTTPException):
        service.get(path, timeout=timeout)


def expect(service: Service, *, seconds: float = 20, **expected: float) -> None:
    def reached() -> bool:
        with contextlib.suppress(OSError, HTTPException):
            return sum(exits(service).values()) >= sum(expected.values())
        return False

    wait_until(reached, seconds=seconds)
    assert exits(service) == expected


def test_every_reason_starts_at_zero(service: Service) -> None:
    known = {
        dict(labels)["reason"]
        for name, labels in service.samples()
        if name == "gunicorn_worker_exits_total"
    }

    assert known == REASONS


def test_max_requests_is_recycled(serve: Serve) -> None:
    service = serve(args=["--max-requests", "20"])

    for _ in range(40):  # scrapes and probes do not count, and there are two workers
        service.get("/pid")

    wait_until(lambda: exits(service).get("recycled"))
    assert set(exits(service)) == {"recycled"}


def test_a_worker_that_hangs_is_timeout(serve: Serve) -> None:
    """It holds the interpreter's lock, so that it cannot even hear the SIGABRT."""
    service = serve(args=["--timeout", "2", "--workers", "1"])

    provoke(service, "/end/hang")

    expect(service, timeout=1)


def test_a_request_too_long_for_sync_is_timeout(serve: Serve) -> None:
    service = serve(
        args=["--worker-class", "sync", "--threads", "1", "--timeout", "2", "--workers", "1"]
    )

    provoke(service, "/sleep/30.0")

    expect(service, timeout=1)


def test_signals_statuses_and_stops_have_their_reasons(serve: Serve) -> None:
    """Those killed all at once die between two looks of the arbiter; none of them may get lost."""
    service = serve(env={"WEB_CONCURRENCY": "4"})
    workers_of(service, 4)

    provoke(service, "/end/signal")
    expect(service, crashed=1)
    provoke(service, "/end/status")
    expect(service, crashed=2)
    for pid in workers_of(service, 4):
        os.kill(pid, signal.SIGKILL)
    expect(service, crashed=2, killed=4)
    os.kill(workers_of(service, 4)[0], signal.SIGTERM)
    expect(service, crashed=2, killed=4, terminated=1)
    workers_of(service, 4)
    os.kill(service.arbiter, signal.SIGTTOU)
    expect(service, crashed=2, killed=4, terminated=2)
    os.kill(service.arbiter, signal.SIGHUP)

    expect(service, crashed=2, killed=4, terminated=5)


def test_a_view_that_exits_ends_no_worker(serve: Serve) -> None:
    """In gunicorn's own threaded worker it ends the process, and every other request with it."""
    service = serve(env={"WEB_CONCURRENCY": "1"})
    pid = service.get("/pid").body

    provoke(service, "/end/exit", timeout=5)

    assert service.get("/pid").body == pid
    assert exits(service) == {}


@pytest.fixture(name="control_group")
def _control_group() -> Iterator[Path]:
    """A control group of our own with 300 MB of memory, where the kernel lets us make one."""
    roots = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            roots.append((Path("/sys/fs/cgroup/memory", path[1:]), "memory.limit_in_bytes"))
        elif not controllers:
            roots.append((Path("/sys/fs/cgroup", path[1:]), "memory.max"))
    for root, limit in roots:
        group = root / f"test-oom-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(300 << 20))
        except OSError:
            group.rmdir()
            continue
        yield group
        wait_until(lambda: not (group / "cgroup.procs").read_text())  # noqa: B023 — used up here
        group.rmdir()
        return
    pytest.skip("no control group can be made here")


def test_an_out_of_memory_kill_is_not_a_plain_kill(serve: Serve, control_group: Path) -> None:
    service = serve(env={"WEB_CONCURRENCY": "1"})
    for pid in (service.arbiter, *service.workers()):
        (control_group / "cgroup.procs").write_text(str(pid))

    os.kill(service.workers()[0], signal.SIGKILL)
    expect(service, killed=1)
    provoke(service, "/hoard", timeout=30)
    expect(service, killed=1, out_of_memory=1)
    os.kill(wait_until(service.workers)[0], signal.SIGKILL)

    expect(service, killed=2, out_of_memory=1)
    service.kill()


@pytest.mark.parametrize(
    ("status", "timed_out", "exit_code", "oom_killed", "reason"),
    [
        pytest.param(9, False, 0, True, "out_of_memory", id="kernel"),
        pytest.param(9, True, 0, True, "out_of_memory", id="kernel-was-faster"),
        pytest.param(9, True, 0, False, "timeout", id="did-not-hear-abort"),
        pytest.param(6, True, 0, False, "timeout", id="heard-it-in-c"),
        pytest.param(6, False, 0, False, "crashed", id="abort-of-its-own"),
        pytest.param(15, False, 0, False, "terminated", id="term-while-booting"),
        pytest.param(0, False, 2, False, "recycled", id="recycled"),
        pytest.param(0, False, 1, True, "terminated", id="somebody-else-ran-out-of-memory"),
        pytest.param(0, False, 0, False, "terminated", id="no-exit-code"),
        pytest.param(None, False, 1, False, "unknown", id="not-seen"),
        pytest.param(None, True, 0, False, "timeout", id="not-seen-after-a-timeout"),
        pytest.param(1 << 8, False, 2, False, "crashed", id="failed-on-its-way-out"),
    ],
)
def test_reason_by_status(
    status: int | None, timed_out: bool, exit_code: int, oom_killed: bool, reason: str
) -> None:
    assert (
        exit_reason(status, timed_out=timed_out, exit_code=exit_code, oom_killed=oom_killed)
        == reason
    )


def test_a_worker_that_asks_for_a_restart_is_replaced(serve: Callable[..., Service]) -> None:
    service = serve(env={"WEB_CONCURRENCY": "2"})

    gone = int(service.get("/restart").body)

    wait_until(lambda: len(service.workers()) == 2 and gone not in service.workers())
    assert service.get("/pid").status == 200
    assert service.sample("gunicorn_worker_exits_total", reason="terminated") == 1
    assert service.logged("worker_restart_requested", reason="drill")


def test_without_an_arbiter_a_restart_is_not_requested() -> None:
    """Under `flask run`, in a test or a script: the process would not be replaced."""
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        request_restart("drill")
    finally:
        signal.signal(signal.SIGTERM, before)

    assert received == []
