"""Every line of a real gunicorn is JSON, from its first to its last."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.polling import wait_until
from tests.support.service import ROOT, Service
from tests.support.stalls import scaled

APPLICATION = """
import os, sys, time
def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/print":
        print("printed"); print("to stderr", file=sys.stderr)
    if path == "/write":
        environ["wsgi.errors"].write("wsgi error\\n")
    if path == "/hang":
        time.sleep(60)
    if path == "/raise":
        raise RuntimeError("password=hunter2")
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
BROKEN = {
    "no_module": "import no_such_module",
    "no_attribute": "x = 1",
    "raises": "raise RuntimeError('postgresql://atom:hunter2@db/atom')",
    "syntax": "def (",
}


@pytest.fixture(name="serve")
def _serve(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Return a function that starts the small application above under a bare gunicorn."""
    (tmp_path / "small.py").write_text(APPLICATION)
    for name, source in BROKEN.items():
        (tmp_path / f"{name}.py").write_text(source)
    with contextlib.ExitStack() as stack:

        def serve(*args: str, app: str = "small:app", port: int | None = None) -> Service:
            service = Service(
                tmp_path,
                app=app,
                cwd=tmp_path,
                env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
            )
            service._command += [
                "--logger-class=atom_platform.logs.gunicorn.GunicornLogger",
                f"--bind=127.0.0.1:{port or service.port}",
                "--no-control-socket",
                *args,
            ]
            stack.callback(service.kill)
            service.start(wait=False)
            return service

        yield serve


def started(service: Service) -> bool:
    with contextlib.suppress(OSError):
        return service.get("/").status == 200
    return False


def all_serving(service: Service, *, besides: list[int] = []) -> list[int]:  # noqa: B006 — only read
    """
    Return the two workers once both serve, none of *besides* among them.

    A worker that has not come so far yet misses a signal: it still has the arbiter's handlers.
    """
    workers: set[int] = set()

    def serving() -> bool:
        with contextlib.suppress(OSError):
            workers.add(int(service.get("/").body))
        return len(workers & {*service.workers()} - {*besides}) == 2 == len(service.workers())

    wait_until(serving)
    return sorted(workers - {*besides})


def events(service: Service, logger: str) -> list[str]:
    return [line["event"] for line in service.log() if line["logger"] == logger]


def test_boot_reload_crash_and_stop_are_logged_as_json(serve: Callable[..., Service]) -> None:
    service = serve("--workers=2", "--worker-class=gthread")
    first = all_serving(service)

    os.kill(service.arbiter, signal.SIGHUP)
    second = all_serving(service, besides=first)
    os.kill(second[0], signal.SIGKILL)
    all_serving(service, besides=[*first, second[0]])
    service.get("/print")
    service.get("/write")
    os.kill(service.arbiter, signal.SIGUSR1)
    assert service.stop() == 0

    assert {line["logger"] for line in service.log()} == {"gunicorn.error", "stdout", "stderr"}
    assert events(service, "stdout") == ["printed"]
    assert {*events(service, "stderr")} == {"to stderr", "wsgi error"}
    said = events(service, "gunicorn.error")
    assert any(event.startswith("Starting gunicorn") for event in said)
    assert any("SIGKILL" in event for event in said)
    assert "Hang up: Master" in said
    assert "Shutting down: Master" in said


def test_an_error_of_the_application_is_one_line(serve: Callable[..., Service]) -> None:
    service = serve()
    wait_until(lambda: started(service))

    assert service.get("/raise").status == 500

    (line,) = wait_until(lambda: [line for line in service.log() if "exception" in line])
    assert line["level"] == "ERROR"
    assert line["exception"].endswith("RuntimeError: password=[redacted]")


def test_a_worker_that_hangs_is_logged(serve: Callable[..., Service]) -> None:
    service = serve("--timeout=1")
    wait_until(lambda: started(service))

    with contextlib.suppress(OSError, Exception):
        service.get("/hang")

    wait_until(lambda: [line for line in service.log() if line["level"] == "CRITICAL"])
    (line,) = [line for line in service.log() if line["level"] == "CRITICAL"]
    assert line["event"].startswith("WORKER TIMEOUT")


@pytest.mark.parametrize("module", BROKEN)
def test_a_failed_boot_is_logged_as_json(serve: Callable[..., Service], module: str) -> None:
    service = serve(app=f"{module}:app")
    assert service.process.wait(scaled(20)) != 0
    service.kill()

    assert any(line["level"] == "ERROR" for line in service.log())
    assert b"hunter2" not in b"".join(service.output)


def test_a_port_in_use_is_logged_as_json(serve: Callable[..., Service]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = serve(port=taken.getsockname()[1])
        assert service.process.wait(scaled(30)) != 0
        service.kill()

    assert any("in use" in event for event in events(service, "gunicorn.error"))


def test_debug_shows_no_secret_of_the_environment(serve: Callable[..., Service]) -> None:
    service = serve("--log-level=debug", "--env=WHATEVER=hunter2")
    wait_until(lambda: started(service))

    shown = wait_until(
        lambda: [event for event in events(service, "gunicorn.error") if "configuration" in event]
    )
    assert len(shown) == 1
    assert "raw_env: [redacted]" in shown[0]
    assert b"hunter2" not in b"".join(service.output)


def test_gunicorns_own_log_level_is_used(serve: Callable[..., Service]) -> None:
    service = serve("--log-level=error")
    wait_until(lambda: started(service))
    service.stop()

    assert events(service, "gunicorn.error") == []


@pytest.mark.parametrize("captured", [True, False])
def test_the_error_log_may_be_a_file(
    serve: Callable[..., Service], tmp_path: Path, captured: bool
) -> None:
    path = tmp_path / "error.log"
    service = serve(f"--error-logfile={path}", *(["--capture-output"] if captured else []))
    wait_until(lambda: started(service))
    service.get("/print")
    service.stop()

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    said = [line["event"] for line in lines if line["logger"] == "gunicorn.error"]
    assert len([event for event in said if event.startswith("Starting")]) == 1
    assert (("stdout", "printed") in [(e["logger"], e["event"]) for e in lines]) is captured
    assert (events(service, "stdout") == ["printed"]) is not captured


def send(service: Service, request: bytes) -> int:
    """Send raw bytes, and return the status of the answer."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=scaled(10)) as client:
        client.sendall(request)
        return int(client.recv(1000).split()[1])


def test_a_rejected_request_is_counted_and_logged(
    start_service: Callable[..., Service],
) -> None:
    service = start_service(env={"WEB_CONCURRENCY": "1"})
    refused = {
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n": 400,
        b"GET /?token=hunter2 HTTP/9.9\r\nHost: x\r\n\r\n": 400,
        b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n": 414,
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 9000 + b"\r\n\r\n": 431,
    }
    statuses = [send(service, request) for request in refused]

    assert statuses == [*refused.values()]
    for status, count in ((400, 2), (414, 1), (431, 1)):
        assert (
            service.total("http_requests_total", endpoint="unmatched", status=str(status)) == count
        )
        logged = partial(service.logged, "http_request", status=status)
        wait_until(lambda logged=logged, count=count: len(logged()) >= count)  # type: ignore[misc]
        lines = logged()
        assert len(lines) == count
        assert all(line["remote_addr"] == "127.0.0.1" and line["reason"] for line in lines)
    assert b"hunter2" not in b"".join(service.output)
    assert not any("Invalid request" in line["event"] for line in service.log())


def test_an_unread_log_blocks_no_request(tmp_path: Path) -> None:
    """Far more lines than the pipe holds; the server goes on, and still ends when asked to."""
    probe = Service(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "wsgi:app"],
        cwd=ROOT,
        env={**probe.env, "WEB_CONCURRENCY": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_until(lambda: ready(probe), seconds=40)
        slowest = 0.0
        for _ in range(400):
            before = time.monotonic()
            assert probe.get("/nowhere/" + "x" * 900).status == 404
            assert probe.get("/health/live").status == 200
            slowest = max(slowest, time.monotonic() - before)
        process.terminate()
        process.wait(scaled(30))
    finally:
        family = (
            psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        )
        for each in family:
            each.kill()
        process.kill()
        process.wait(scaled(10))

    assert process.returncode == 0
    assert slowest < scaled(5)
    assert process.stdout is not None
    text = process.stdout.read()
    process.stdout.close()
    assert len(text) > 50_000  # the pipe was full, as pipes count: by pages begun
    parsed: list[Any] = [json.loads(line) for line in text.splitlines()[:-1]]
    assert parsed


def ready(service: Service) -> bool:
    with contextlib.suppress(OSError):
        return service.get("/health/startup").status == 200
    return False


def test_syslog_still_gets_the_lines() -> None:
    code = """
from gunicorn.config import Config
from atom_platform.logs.gunicorn import GunicornLogger

config = Config()
config.set("syslog", True)
config.set("syslog_addr", "udp://127.0.0.1:9")
print(*(type(each).__name__ for each in GunicornLogger(config).error_log.handlers), flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=True,
    )

    assert '"event":"SysLogHandler"' in done.stdout


def test_handlers_of_a_logging_configuration_stay(tmp_path: Path) -> None:
    """`--log-config` is the operator's: its handlers are neither removed nor given our format."""
    code = f"""
from gunicorn.config import Config
from atom_platform.logs.gunicorn import GunicornLogger

file = {str(tmp_path / "errors.log")!r}
config = Config()
config.set("logconfig_dict", {{
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {{"own": {{"format": "own %(message)s"}}}},
    "handlers": {{
        "console": {{"class": "logging.StreamHandler"}},
        "file": {{"class": "logging.FileHandler", "filename": file, "formatter": "own"}},
    }},
    "root": {{"level": "INFO", "handlers": []}},
    "loggers": {{
        "gunicorn.error": {{"level": "INFO", "handlers": ["console", "file"]}},
        "gunicorn.access": {{"level": "INFO", "handlers": ["console"]}},
    }},
}})
logger = GunicornLogger(config)
logger.error_log.warning("told")
with open({str(tmp_path / "handlers")!r}, "w") as out:
    for log in (logger.error_log, logger.access_log):
        print(*(type(each).__name__ for each in log.handlers), file=out)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=scaled(60), check=True)

    kept = (tmp_path / "handlers").read_text().splitlines()
    assert kept == ["StreamHandler FileHandler", "StreamHandler"]
    assert (tmp_path / "errors.log").read_text() == "own told\n"
