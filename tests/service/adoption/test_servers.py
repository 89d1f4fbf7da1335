"""The example, under each server that an application may be run by: the same answers and counts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from atom_platform.server.config import configuration_file
from tests.service.adoption.adopted import serving
from tests.support.polling import wait_until

APP = "examples.shop:app"
GUNICORN = ("-m", "gunicorn", APP, "--bind", "127.0.0.1:{port}")
UWSGI = str(Path(sys.executable).parent / "pyuwsgi")

SINGLE = {
    "flask-run": ("-m", "flask", "--app", "examples.shop", "run", "--port", "{port}"),
    "waitress": ("-m", "waitress", "--host", "127.0.0.1", "--port", "{port}", APP),
    "uwsgi": (
        "-c",
        f"import os, sys; os.execv({UWSGI!r}, sys.argv)",
        *("--http-socket", "127.0.0.1:{port}", "--module", APP, "--enable-threads"),
    ),
    "gunicorn-plain": (*GUNICORN, "--workers", "1", "--threads", "2"),
}
WORKERS = {
    "ours": (),
    "gthread": ("--worker-class", "gthread"),
    "sync": ("--worker-class", "sync", "--threads", "1"),
    "gevent": ("--worker-class", "gevent"),
}


@pytest.mark.parametrize("command", SINGLE.values(), ids=SINGLE)
def test_one_process_needs_no_directory(command: tuple[str, ...], tmp_path: Path) -> None:
    with serving(tmp_path, *command) as service:
        for _ in range(5):
            assert service.post("/orders/retail").body == b"thanks\n"
        checks = service.ready()
        samples = service.samples()
        wait_until(lambda: service.events().count("order_placed") == 5, seconds=60)
        events = service.events()

    found = {
        (name, *sorted(dict(labels).values())): each for (name, labels), each in samples.items()
    }
    assert set(checks) == {"disk", "warehouse"}
    assert found["http_requests_total", "/orders/<kind>", "200", "POST"] == 5
    assert found["orders_total", "retail"] == 5
    assert found["health_check_healthy", "warehouse"] == 1
    assert "app_info" in {name for name, *_ in found}
    # Who starts gunicorn without our configuration is told what that costs.
    assert ("metrics_of_one_process" in events) == ("gunicorn" in command)


@pytest.mark.parametrize("arguments", WORKERS.values(), ids=WORKERS)
def test_workers_of_gunicorn_count_as_one(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """With nothing but the configuration that we print, and a database URL that is not ours."""
    (tmp_path / "gunicorn.conf.py").write_text(configuration_file())

    with serving(tmp_path, *GUNICORN, *arguments, env={"WEB_CONCURRENCY": "2"}) as service:
        wait_until(lambda: service.sample("gunicorn_workers") == 2, seconds=60)
        for _ in range(20):
            assert service.post("/orders/trade").body == b"thanks\n"
        scrapes = [service.sample("orders_total", kind="trade") for _ in range(6)]
        checks = service.ready()
        if "gevent" in arguments:  # whose threads are not like others, and end differently
            assert service.stop(seconds=60) == 0
        wait_until(lambda: service.events().count("order_placed") == 20, seconds=60)
        lines = service.log()  # every line of every process is JSON

    assert scrapes == [20] * 6
    assert set(checks) == {"disk", "warehouse"}
    assert [line for line in lines if line["level"] in ("ERROR", "CRITICAL")] == []


def test_uwsgi_is_told_what_it_cannot_do_so(tmp_path: Path) -> None:
    several = ("--master", "--processes", "2", "--die-on-term")
    command = [each for each in SINGLE["uwsgi"] if each != "--enable-threads"]

    with serving(tmp_path, *command, *several) as service:
        wait_until(
            lambda: (
                service.get("/health/live").status
                and {"metrics_of_one_process", "uwsgi_without_threads"} <= set(service.events())
            ),
            seconds=60,
        )
