"""Hooks never end a server, and the configuration has the documented values."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config

from atom_platform.metrics.storage import directory_lock
from atom_platform.server import hooks
from tests.support.load import occupied
from tests.support.service import ROOT, Service
from tests.support.stalls import scaled

Serve = Callable[..., Service]

#: What gunicorn.conf.py sets; spelled out, because any global named like a setting would be one.
SET = {
    "bind", "child_exit", "control_socket_disable", "forwarder_headers", "graceful_timeout",
    "header_map", "keepalive",
    "limit_request_field_size", "limit_request_fields", "limit_request_line", "logger_class",
    "on_exit", "on_starting", "post_fork", "post_worker_init", "pre_exec", "pre_fork",
    "pre_request", "preload_app", "proc_name", "threads", "timeout", "when_ready", "worker_class",
    "worker_connections", "worker_exit", "worker_tmp_dir", "workers",
}  # fmt: skip


def gunicorn(
    *args: str, env: dict[str, str] | None = None, app: str = "tests.support.application:app"
) -> subprocess.CompletedProcess[str]:
    """Run gunicorn for something that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "gunicorn", *args, app],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **(env or {})},
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )


def printed_configuration(**kwargs: Any) -> dict[str, str]:
    done = gunicorn("--print-config", **kwargs)
    assert done.returncode == 0, done.stderr
    pairs = (line.partition("=") for line in done.stdout.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def test_every_hook_is_guarded() -> None:
    unguarded = {name for name in hooks.__all__ if not hasattr(getattr(hooks, name), "__wrapped__")}

    assert unguarded == set()
    assert set(hooks.__all__) <= SET


def test_a_hook_that_fails_is_logged_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    @hooks.guarded
    def failing(server: object) -> None:
        raise RuntimeError("hook")

    with caplog.at_level(logging.ERROR, "atom_platform.server"):
        failing(object())
        failing(object())

    assert caplog.messages == ["hook_failed"]
    assert caplog.records[0].exc_info
    hooks._reported.discard("failing")


def test_a_server_survives_hooks_that_fail(tmp_path: Path, serve: Serve) -> None:
    """Each hook that would end it, sabotaged, while workers come and go."""
    config = tmp_path / "sabotaged.py"
    config.write_text(
        f"exec(open({str(ROOT / 'gunicorn.conf.py')!r}).read())\n"
        "from atom_platform.server import hooks as _hooks\n"
        "def _sabotage(hook):\n"
        "    def raising(*arguments):\n"
        "        hook.__wrapped__(*arguments)\n"
        "        raise RuntimeError('sabotage')\n"
        "    raising.__name__ = hook.__name__\n"
        "    return raising\n"
        "def _two(hook):\n"
        "    guarded = _hooks.guarded(_sabotage(hook))\n"
        "    return lambda server, worker: guarded(server, worker)\n"
        "def _one(hook):\n"
        "    guarded = _hooks.guarded(_sabotage(hook))\n"
        "    return lambda server: guarded(server)\n"
        "child_exit, pre_fork, post_fork = map(_two, (child_exit, pre_fork, post_fork))\n"
        "when_ready, on_starting = map(_one, (when_ready, on_starting))\n"
    )
    service = serve(args=["--config", str(config), "--max-requests", "20"])

    for _ in range(100):
        assert service.get("/pid").status == 200

    failed = {line["hook"] for line in service.logged("hook_failed")}
    assert failed == {"child_exit", "pre_fork", "post_fork", "when_ready", "on_starting"}
    assert service.sample("metric_errors_total", kind="hook") >= 5
    assert service.process.poll() is None


def test_importing_the_hooks_loads_no_library() -> None:
    code = (
        "import sys, atom_platform.server.hooks\n"
        "libraries = {'flask', 'gunicorn', 'orjson', 'prometheus_client', 'sqlalchemy'}\n"
        "print(libraries & set(sys.modules))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "set()"


def test_the_configuration_sets_these_settings_only() -> None:
    code = (
        "import runpy, sys\n"
        "from gunicorn.config import Config\n"
        "print(*sorted(Config().settings.keys() & runpy.run_path('gunicorn.conf.py').keys()))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )

    assert set(done.stdout.split()) == SET
    assert Config().settings.keys() >= SET


def test_defaults() -> None:
    settings = printed_configuration()

    assert settings["bind"] == "['0.0.0.0:8000']"
    assert settings["workers"] == "2"
    assert settings["threads"] == "4"
    assert settings["worker_tmp_dir"] == "/dev/shm"
    assert settings["control_socket_disable"] == "True"
    assert settings["preload_app"] == "False"


def test_the_environment_moves_them_and_gunicorns_own_ways_win() -> None:
    env = {"PORT": "9001", "WEB_CONCURRENCY": "3", "ATOM_THREADS": "7"}

    by_environment = printed_configuration(env=env)
    by_arguments = printed_configuration(
        env={**env, "GUNICORN_CMD_ARGS": "--workers 5 --bind 127.0.0.1:9002"}
    )

    assert by_environment["bind"] == "['0.0.0.0:9001']"
    assert (by_environment["workers"], by_environment["threads"]) == ("3", "7")
    assert by_arguments["bind"] == "['127.0.0.1:9002']"
    assert (by_arguments["workers"], by_arguments["threads"]) == ("5", "7")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PORT", "http"), ("ATOM_THREADS", "0"), ("ATOM_DRAIN_SECONDS", "long")],
)
@pytest.mark.parametrize("args", [[], ["--check-config"]])
def test_a_wrong_setting_is_one_line(args: list[str], variable: str, value: str) -> None:
    done = gunicorn(*args, env={variable: value})

    assert done.returncode != 0
    (line,) = (done.stdout + done.stderr).strip().splitlines()
    assert line.startswith(f"atom-platform: {variable} must be ")


def test_help_works_with_a_bad_setting() -> None:
    assert gunicorn("--help", env={"PORT": "http"}).returncode == 0


def test_check_config_leaves_no_directory_behind(tmp_path: Path) -> None:
    """It loads the application, for which the metrics directory is made, but serves nothing."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--check-config", "tests.support.application:app"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
    )

    assert process.wait(scaled(60)) == 0
    owners = map(directory_lock.read_owner, Path("/dev/shm").glob("atom-metrics-*"))
    assert not [owner for owner in owners if owner and process.pid in owner.arbiters]


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (["--worker-class", "gthread"], "gthread"),
        (["-k", "sync"], "sync"),
    ],
)
def test_other_worker_classes_run_and_log_what_is_missing(
    serve: Serve, args: list[str], name: str
) -> None:
    service = serve(args=args)

    assert service.get("/health/live").status == 200
    assert service.get("/health/metrics").status == 200
    (line,) = service.logged("probe_fast_path_disabled")
    assert (line["level"], line["worker_class"]) == ("WARNING", name)


def test_threads_and_versions_are_metrics(serve: Serve) -> None:
    service = serve(env={"WEB_CONCURRENCY": "1", "ATOM_THREADS": "3", "ATOM_REVISION": "abc123"})
    with occupied(service, 2, "/sleep/2.0"):
        busy = {service.sample("gunicorn_threads_busy") for _ in range(50)}

    samples = service.samples()
    (info,) = [dict(labels) for name, labels in samples if name == "app_info"]
    assert service.sample("gunicorn_threads") == 3
    assert 2 in busy
    assert info["revision"] == "abc123"
    assert info["version"]
    assert not service.logged("probe_fast_path_disabled")


def test_requests_that_the_parser_refuses_are_counted(serve: Serve) -> None:
    service = serve(env={"WEB_CONCURRENCY": "1"})

    assert service.get("/pid", headers={"X": "y" * 70_000}).status == 431

    assert service.total("http_requests_total", status="431") == 1
