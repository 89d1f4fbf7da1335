"""One service for each version of gunicorn: what works on all, and what only where it was read."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.gunicorns import installed, renumbered
from tests.support.polling import wait_until
from tests.support.ports import free_port
from tests.support.service import Service

Serve = Callable[..., Service]

READ = ("26.2.0", "27.0.1")
NOT_READ = ("23.0.0", "25.3.0", "26.1.0", "28.0.0")
RELEASED = sorted({*READ, *NOT_READ} - {"28.0.0"})

TABLE: dict[str, dict[str, str]] = {}


@pytest.fixture(scope="module", autouse=True)
def _table(request: pytest.FixtureRequest) -> object:
    """Print what each version did, after the last test."""
    yield
    columns = list(dict.fromkeys(name for row in TABLE.values() for name in row))
    lines = [" | ".join(["gunicorn", *columns])]
    lines += [
        " | ".join([v, *(row.get(c, "") for c in columns)]) for v, row in sorted(TABLE.items())
    ]
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
        print("", *lines, sep="\n")


def service_on(version: str, serve: Serve, tmp_path: Path, **env: str) -> Service:
    try:
        place = installed(version) if version in RELEASED else renumbered(version, tmp_path / "g")
    except (OSError, subprocess.SubprocessError) as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"gunicorn {version} cannot be installed: {error}")
    return serve(env={"PYTHONPATH": str(place), "WEB_CONCURRENCY": "2", **env})


def answered(service: Service, pid: int) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return int(service.get("/pid", timeout=2).body) == pid
    return False


@pytest.mark.parametrize("version", [*READ, *NOT_READ])
def test_the_service_works(version: str, serve: Serve, tmp_path: Path) -> None:
    """Boots, answers probes, counts, replaces a killed worker, reloads, stops with status 0."""
    service = service_on(version, serve, tmp_path)
    row = TABLE[version] = {"boots": "yes"}

    assert any(version in str(line["event"]) for line in service.log())
    for probe in ("live", "ready", "startup", "metrics"):
        assert service.get(f"/health/{probe}").status == 200
    row["probes"] = "4 of 4"
    for _ in range(20):
        assert service.get("/pid").status == 200
    assert service.total("http_requests_total", endpoint="/pid", status="200") == 20
    row["counts"] = "20 of 20"

    killed = service.workers()[0]
    os.kill(killed, signal.SIGKILL)
    reason = "killed" if version in READ else "unknown"
    wait_until(lambda: service.sample("gunicorn_worker_exits_total", reason=reason) == 1)
    wait_until(lambda: len(service.workers()) == 2)
    row["kill -9"] = f"counted as {reason}"

    before = set(service.workers())
    os.kill(service.arbiter, signal.SIGHUP)
    wait_until(lambda: len(now := set(service.workers())) == 2 and not now & before)
    wait_until(lambda: service.get("/health/ready").status == 200)
    assert service.get("/pid").status == 200
    row["reloads"] = "yes"

    assert not service.logged("hook_failed")
    disabled = service.logged("gunicorn_features_disabled")
    row["off"] = str(len(disabled[-1]["disabled"])) if disabled else "0"
    if version in READ:
        assert not disabled
    else:
        assert {(line["level"], line["gunicorn"]) for line in disabled} == {("WARNING", version)}
        assert len(disabled) == 1
    assert service.stop() == 0
    row["TERM"] = "status 0"


@pytest.mark.parametrize("version", NOT_READ)
def test_what_is_off_does_no_harm(version: str, serve: Serve, tmp_path: Path) -> None:
    """A drain that was asked for, and the management port."""
    port = str(free_port())
    service = service_on(
        version, serve, tmp_path, ATOM_DRAIN_SECONDS="30", ATOM_MANAGEMENT_PORT=port
    )

    main = service.port
    assert service.get("/health/metrics").status == 404
    service.port = int(port)
    assert service.get("/health/metrics").status == 200
    service.port = main
    os.kill(service.arbiter, signal.SIGRTMIN)
    wait_until(lambda: service.get("/health/ready").status == 503)
    assert service.get("/pid").status == 200

    assert service.stop() == 0
    assert not service.logged("hook_failed")


def test_what_the_operator_asks_for_is_warned_of(tmp_path: Path) -> None:
    """`--bind` closes the management port, and `-k` that names our worker gets gunicorn's."""
    port = free_port()
    worker = "atom_platform.server.worker.ProbeThreadWorker"
    service = Service(
        tmp_path,
        app="tests.support.application:app",
        env={
            "PYTHONPATH": str(renumbered("28.0.0", tmp_path / "g")),
            "ATOM_MANAGEMENT_PORT": str(free_port()),
        },
        args=["--bind", f"127.0.0.1:{port}", "--worker-class", worker],
    )
    service.port = port
    try:
        service.start()

        (line,) = service.logged("management_port_not_bound")
        assert line["level"] == "WARNING"
        assert service.get("/thread").body.startswith(b"ThreadPoolExecutor")
        assert service.stop() == 0
    finally:
        service.kill()
