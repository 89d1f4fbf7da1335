"""`python -m atom_platform top` beside a real service, in a real terminal."""

from __future__ import annotations

import contextlib
import fcntl
import http.server
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from atom_platform.cli import main
from tests.polling import free_port, wait_until
from tests.service import ROOT, Service, running_service

COMMAND = [sys.executable, "-m", "atom_platform", "top"]
LEAVE = "\x1b[?25h\x1b[?1049l"
REQUESTS = 7


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("top")) as running:
        yield running


def url_of(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}"


class Terminal:
    """A program on a pseudo-terminal of 120 columns, and all that it has written there."""

    def __init__(self, *command: str) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        self._written: list[bytes] = []
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "TERM": "xterm"},
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while data := os.read(self.master, 65536):
                self._written.append(data)

    def text(self) -> str:
        return b"".join(list(self._written)).decode()

    def frames(self) -> list[str]:
        """Return the frames so far, without colours; the last may not be whole."""
        plain = re.sub(r"\x1b\[[0-9;]*[mK]", "", self.text())
        return plain.split("\x1b[H")[1:]

    def wait_for(self, pattern: str, *, after: int = 0) -> int:
        """Wait for a frame, not before the *after*th, with *pattern*; return its number."""

        def seen() -> int:
            for number, frame in enumerate(self.frames()):
                if number >= after and re.search(pattern, frame):
                    return number + 1
            return 0

        return wait_until(seen, seconds=60) - 1

    def press(self, key: str) -> None:
        os.write(self.master, key.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self.slave)  # the reader's next read fails, once all is read
        self._reader.join(10)
        os.close(self.master)


@pytest.fixture
def watch(service: Service) -> Iterator[Terminal]:
    terminal = Terminal(*COMMAND, url_of(service), "--every", "0.2")
    try:
        yield terminal
    finally:
        terminal.close()


def test_one_frame_for_scripts(service: Service) -> None:
    wait_until(lambda: service.get("/health/ready").status == 200, seconds=60)
    for _ in range(REQUESTS):
        service.get("/api/v1/skills")

    done = subprocess.run(
        [*COMMAND, "--once"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PORT": str(service.port)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert re.match(rf"READY     {url_of(service)}  .*since its start", lines[0])
    assert re.search(r"^workers   2 +threads busy \d/8", done.stdout, re.M)
    assert re.search(r"^checks    database +ok +Database accessible", done.stdout, re.M)
    assert re.search(r"^pool      \d in use .* of 10   0 waiting", done.stdout, re.M)
    assert re.search(r"^/api/v1/skills +\d+\.\d\d/s +0\.00% +\d", done.stdout, re.M)


def test_a_service_that_is_restarted_shows_no_negative_rate(
    service: Service, watch: Terminal
) -> None:
    for _ in range(REQUESTS):
        service.get("/api/v1/skills")
    number = watch.wait_for(r"READY .*last \d+ s.*\n(.*\n)*/health/ready")

    service.stop()
    number = watch.wait_for(r"NO ANSWER .*\n.*no answer: Connection refused", after=number)
    service.start()
    number = watch.wait_for(r"READY .*since its start", after=number)
    watch.wait_for(r"READY .*last \d+ s.*\n(.*\n)*/health/ready", after=number)

    assert not re.search(r"-\d", "".join(watch.frames()))


def test_the_terminal_is_given_back_as_it_was(service: Service, watch: Terminal) -> None:
    watch.wait_for("READY")
    assert termios.tcgetattr(watch.slave) != watch.before, "keys are read as they are pressed"

    watch.press("q")

    assert watch.process.wait(30) == 0
    assert termios.tcgetattr(watch.slave) == watch.before
    wait_until(lambda: watch.text().endswith(LEAVE))


def test_also_when_it_is_terminated(service: Service, watch: Terminal) -> None:
    watch.wait_for("READY")

    watch.process.terminate()

    assert watch.process.wait(30) == 128 + 15
    assert termios.tcgetattr(watch.slave) == watch.before
    wait_until(lambda: watch.text().endswith(LEAVE))


def test_a_reader_that_goes_away_is_no_traceback(service: Service) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{' '.join(COMMAND)} {url_of(service)} --every 0.1 | head -n 1"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert url_of(service) in done.stdout
    assert done.stderr == ""


def test_no_service_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--once", f"http://127.0.0.1:{free_port()}"]) == 1

    assert "no answer: Connection refused" in capsys.readouterr().out


def test_a_wrong_setting_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "many")

    assert main(["top", "--once"]) == 2

    assert capsys.readouterr().err == "top: PORT must be a whole number from 1 to 65535\n"


@pytest.mark.parametrize("arguments", [["ftp://x"], ["--every", "0"], ["--every", "soon"]])
def test_a_wrong_command_line_is_no_traceback(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top", *arguments]) == 2
    assert capsys.readouterr().err


TOKEN = "open-sesame-open-sesame"


class Guarded(http.server.BaseHTTPRequestHandler):
    """A service that shows its metrics to those who know a word."""

    def do_GET(self) -> None:
        known = self.headers["Authorization"] == f"Bearer {TOKEN}"
        if self.path.startswith("/health/ready"):
            status, body = 200, b'{"status":"ready","timestamp":"2026-01-01T00:00:00.000Z"}'
        else:
            status, body = (
                (200, b"# TYPE active_agents gauge\nactive_agents 3.0\n") if known else (401, b"")
            )
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def guarded() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


def test_a_guarded_service_is_shown_the_token(
    guarded: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")

    main(["top", "--once", guarded])
    assert "set ATOM_METRICS_TOKEN" in capsys.readouterr().out
    for variable, value in (
        ("ATOM_METRICS_TOKEN", TOKEN),
        ("ATOM_METRICS_TOKEN_FILE", str(tmp_path / "token")),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            assert main(["top", "--once", guarded]) == 0
        assert "3 active" in capsys.readouterr().out


def test_where_there_is_a_management_port_that_is_asked(
    guarded: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", str(free_port()))
    monkeypatch.setenv("ATOM_MANAGEMENT_PORT", guarded.rpartition(":")[2])
    monkeypatch.setenv("ATOM_METRICS_TOKEN", TOKEN)

    assert main(["top", "--once"]) == 0
    assert "3 active" in capsys.readouterr().out
