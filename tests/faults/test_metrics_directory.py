"""The service while its metrics directory is missing, shared, deleted, full or full of rubbish."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.counting import (
    PATH,
    assert_exact,
    counted,
    make_agent,
    until_answered,
    until_replaced,
    until_workers_are,
)
from tests.faults.scraping import scraping
from tests.faults.small_disk import on_small_disk
from tests.support.load import under_load
from tests.support.polling import wait_until
from tests.support.service import Service

Start = Callable[..., Service]

KINDS = ("counter", "histogram", "gauge_livesum", "gauge_livemin", "gauge_livemax")
ADDED = ("counter", "histogram")
RUBBISH = {
    "empty": b"",
    "cut": b"\x00\x10",
    "garbage": bytes(range(256)) * 64,
    "a-length-beyond-the-end": b"\xff\xff\xff\x7f" + bytes(4092),
    "a-key-that-is-none": b"\x28\x00\x00\x00\x00\x00\x00\x00\x0c\x00\x00\x00not a key   "
    + bytes(8),
}


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    return tmp_path / "metrics"


def names(slot: int) -> list[str]:
    """Return what the files of *slot* are called, in an earlier version's way too."""
    columnar_files = [f"{kind}_slot{slot}.columnar" for kind in ADDED]
    return columnar_files + [f"{kind}_slot{slot}.db" for kind in KINDS]


def errors(service: Service) -> list[dict[str, object]]:
    """Return the lines at ERROR and above that are about metrics."""
    return [
        line
        for line in service.log()
        if line["logger"] == "atom_platform.metrics" and line["level"] in ("ERROR", "CRITICAL")
    ]


def assert_serves(service: Service, *, requests: int = 20) -> None:
    assert {service.get("/health/live").status for _ in range(requests)} == {200}
    assert {service.get(PATH).status for _ in range(requests)} == {200}
    assert service.get("/health/metrics").status == 200
    assert service.total("gunicorn_worker_exits_total", reason="crashed") == 0


def test_no_directory_is_asked_for(start_service: Start) -> None:
    service = start_service(env={"WEB_CONCURRENCY": "2"})

    with under_load(service, PATH) as load:
        wait_until(lambda: load.answers[200] > 100)

    assert_exact(service, load)
    assert errors(service) == []


def test_two_services_are_told_the_same_directory(start_service: Start, metrics: Path) -> None:
    """Each counts its own, and the one that came second says that it had to look elsewhere."""
    env = {"PROMETHEUS_MULTIPROC_DIR": str(metrics)}
    first, second = start_service(env=env), start_service(env=env)
    for _ in range(30):
        first.get(PATH)
    for _ in range(50):
        second.get(PATH)

    assert {counted(first) for _ in range(4)} == {30}
    assert {counted(second) for _ in range(4)} == {50}
    assert second.logged("metrics_directory_in_use")

    assert second.stop() == 0
    assert {counted(first) for _ in range(4)} == {30}


@pytest.mark.parametrize("kind", ["below-a-file", "no-file-system-for-it"])
def test_a_directory_that_cannot_be_made(start_service: Start, tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").touch()
    asked = str(tmp_path / "file" / "metrics") if kind == "below-a-file" else "/proc/metrics"
    service = start_service(env={"PROMETHEUS_MULTIPROC_DIR": asked, "WEB_CONCURRENCY": "2"})

    assert_serves(service)

    assert {counted(service) for _ in range(4)} == {20}
    assert len(errors(service)) == 1
    assert errors(service)[0]["path"] == asked
    assert service.sample("metric_errors_total", kind="directory") == 1


def columnar_files(directory: Path) -> list[Path]:
    return list(directory.glob("*.columnar"))


def deleted(directory: Path) -> bool:
    try:
        shutil.rmtree(directory)
    except OSError:  # the service made a file while we looked, or took one away
        return False
    return True


def test_a_directory_deleted_while_running(start_service: Start, metrics: Path) -> None:
    """The service makes it again, with all it had; a worker that dies later is as any other."""
    service = start_service(env={"PROMETHEUS_MULTIPROC_DIR": str(metrics), "WEB_CONCURRENCY": "2"})
    with scraping(service) as scrapes, under_load(service, PATH, clients=3) as load:
        wait_until(lambda: load.answers[200] > 50)
        files = len(columnar_files(metrics))
        for _ in range(2):
            before = load.answers[200]
            wait_until(lambda: deleted(metrics))
            # A worker that dies before it has written its counts again takes them with it.
            wait_until(lambda: len(columnar_files(metrics)) >= files)
            until_answered(load, before + 50)
            victim = service.workers()[0]
            os.kill(victim, signal.SIGKILL)
            until_replaced(service, {victim})
            until_workers_are(service, 2)
    scrapes.assert_true()

    assert_exact(service, load)


def test_a_directory_deleted_as_its_workers_die(start_service: Start, metrics: Path) -> None:
    """What nobody has in hand any more is lost; the service is not."""
    service = start_service(env={"PROMETHEUS_MULTIPROC_DIR": str(metrics), "WEB_CONCURRENCY": "2"})
    before = set(service.workers())

    wait_until(lambda: deleted(metrics))
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until_replaced(service, before)
    until_workers_are(service, 2)

    assert_serves(service)
    wait_until(lambda: counted(service) == 20)
    assert list(metrics.glob("counter_*.columnar"))


@pytest.mark.parametrize("room", [True, False], ids=["room-elsewhere", "no-room-anywhere"])
def test_a_file_system_that_fills_while_running(tmp_path: Path, room: bool) -> None:
    """What is known already counts on in place; new label sets go elsewhere, or to memory."""
    with on_small_disk(tmp_path, room=room) as service:
        for _ in range(10):
            assert service.get(PATH).status == 200
        service.fill()

        made = 0
        # What was allocated before holds some; and with no room anywhere each worker knows its own
        # errors only.
        while made < 25 or not service.sample("metric_errors_total", kind="write"):
            make_agent(service, f"agent-{made}")
            ran = service.post(f"/api/v1/agents/agent-{made}/executions", {"input": {}})
            assert ran.status == 201
            made += 1
            assert made < 500
        assert_serves(service)
        full = service.total("agent_executions_total")

        victim = service.workers()[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in service.workers() and len(service.workers()) == 2)
        assert_serves(service)

        if room:
            assert counted(service) == 50
            assert full == made
            assert service.total("agent_executions_total") == made
            assert service.total("gunicorn_worker_exits_total") == 1
        else:
            assert 0 < full <= made  # another worker's memory is out of reach
            assert 10 <= counted(service) <= 50
        told = [line["event"] for line in errors(service)]
        assert set(told) == {"metrics_directory_full"}
        assert len(told) <= 2, "once a service, and once more when the one who told it was killed"
        ends = [line["reason"] for line in service.logged("worker_exited")]
        assert ends == ["killed"], "a bus error would be a crash"


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_rubbish_under_the_names_that_workers_will_open(
    start_service: Start, metrics: Path, rubbish: str
) -> None:
    """Before the start, and while it runs: for the very next worker, and for nobody."""
    metrics.mkdir()
    for slot in range(4):
        for name in names(slot):
            (metrics / name).write_bytes(RUBBISH[rubbish])
    service = start_service(env={"PROMETHEUS_MULTIPROC_DIR": str(metrics), "WEB_CONCURRENCY": "2"})
    wait_until(lambda: service.sample("gunicorn_workers") == 2)
    assert_serves(service)
    assert errors(service) == [], "an earlier life's files are nothing to tell about"

    for name in [*names(3), *names(4), *names(900), *(f"{kind}_4711.db" for kind in KINDS)]:
        (metrics / name).write_bytes(RUBBISH[rubbish])
    assert_serves(service)
    os.kill(service.arbiter, signal.SIGTTIN)
    wait_until(lambda: service.sample("gunicorn_workers") == 3, seconds=40)

    assert_serves(service)
    wait_until(lambda: counted(service) == 60)
    assert service.sample("metric_errors_total", kind="read") > 0
    paths = [(line["event"], line["path"]) for line in errors(service)]
    assert len(paths) <= 3 * len(set(paths)), "once a process"
    assert service.total("gunicorn_worker_exits_total") == 0


@pytest.mark.parametrize("thing", ["directory", "link", "pipe"])
def test_things_that_are_no_files(start_service: Start, metrics: Path, thing: str) -> None:
    service = start_service(env={"PROMETHEUS_MULTIPROC_DIR": str(metrics), "WEB_CONCURRENCY": "2"})
    wait_until(lambda: service.sample("gunicorn_workers") == 2)
    for name in [*names(3), *names(900)]:
        path = metrics / name
        if thing == "directory":
            path.mkdir()
        elif thing == "link":
            path.symlink_to("/etc/passwd")
        else:
            os.mkfifo(path)
    assert_serves(service)
    os.kill(service.arbiter, signal.SIGTTIN)
    wait_until(lambda: len(service.workers()) == 3)
    if thing != "directory":  # what cannot be removed leaves the worker with its memory
        until_workers_are(service, 3)
    with under_load(service, PATH) as load:
        until_answered(load, 100)

    assert set(load.answers) == {200}
    assert_serves(service)
