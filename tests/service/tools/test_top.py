"""`top`: its frames, and its behaviour beside a real service in a real terminal."""

from __future__ import annotations

import contextlib
import fcntl
import http.server
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from atom_platform.cli import main
from atom_platform.metrics.samples import ParsedExposition
from atom_platform.tools.service_client import Window
from atom_platform.tools.top import Observation, draw
from tests.support.polling import wait_until
from tests.support.ports import free_port
from tests.support.service import ROOT, Service
from tests.support.stalls import scaled

COMMAND = [sys.executable, "-m", "atom_platform", "top"]
SHOW_CURSOR, LEAVE_SCREEN = "\x1b[?25h", "\x1b[?1049l"
REQUESTS = 7


EXPOSITION = """\
# TYPE app_info gauge
app_info{version="1.2.3"} 1
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1000
# TYPE http_requests_total counter
http_requests_total{endpoint="/health/ready",method="GET",status="503"} 50
http_requests_total{endpoint="/a",method="GET",status="200"} 90
http_requests_total{endpoint="/quiet",method="GET",status="200"} 0
http_requests_total{endpoint="/a",method="POST",status="500"} 10
http_requests_total{endpoint="/b\x1b[2J",method="GET",status="200"} 100
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{endpoint="/a",method="GET",le="0.1"} 50
http_request_duration_seconds_bucket{endpoint="/a",method="GET",le="0.2"} 90
http_request_duration_seconds_bucket{endpoint="/a",method="GET",le="+Inf"} 90
http_request_duration_seconds_bucket{endpoint="/a",method="POST",le="0.1"} 0
http_request_duration_seconds_bucket{endpoint="/a",method="POST",le="0.2"} 10
http_request_duration_seconds_bucket{endpoint="/a",method="POST",le="+Inf"} 10
# TYPE db_connections_waiting gauge
db_connections_waiting 3
"""


def observation(text: str = EXPOSITION) -> Observation:
    exposed = ParsedExposition(text)
    growth = Window(seconds=30).add(exposed, at=1100)
    checks = {
        "database": {"healthy": False, "message": "Database timeout after 5.0s"},
        "disk": {"healthy": True, "message": "fine"},
    }
    return Observation("http://10.0.0.7:8000", "not_ready", 1100, "", checks, exposed, growth)


def shown(seen: Observation | None = None, *, width: int = 100, colours: bool = False) -> list[str]:
    console = Console(
        file=io.StringIO(),
        width=width,
        color_system="standard" if colours else None,
        highlight=False,
    )
    console.print(draw(seen or observation()))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def row(lines: list[str], start: str) -> list[str]:
    (line,) = [line for line in lines if line.startswith(start)]
    return re.split(r"\s{2,}", line.strip())


def test_an_endpoint_is_one_line_for_all_methods() -> None:
    assert row(shown(), "/a ") == ["/a", "1.00/s", "10.00%", "100.0 ms", "190.0 ms", "198.0 ms"]


def test_an_endpoint_without_requests_is_left_out() -> None:
    assert not any(line.startswith("/quiet") for line in shown())


def test_health_endpoints_are_listed_and_left_out_of_the_sum() -> None:
    lines = shown()

    assert row(lines, "requests")[1:3] == ["2.00/s", "5xx 5.00%"]
    assert row(lines, "/health/ready")[1:3] == ["0.50/s", "100.00%"]


def test_errors_are_shown_in_words() -> None:
    """Colours alone are not accessible."""
    lines = shown()

    assert lines[0].startswith("NOT_READY")
    assert row(lines, "checks")[1:] == ["database", "UNHEALTHY", "Database timeout after 5.0s"]
    assert "3 waiting" in row(lines, "pool")


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(len(line) for line in shown(width=width)) <= width


def test_a_missing_pool_is_not_shown() -> None:
    bare = EXPOSITION.replace("db_connections_waiting 3", "db_connections_waiting 0")

    lines = "\n".join(shown(observation(bare)))

    assert "pool" in "\n".join(shown())
    assert "pool" not in lines
    assert "threads" not in lines


def test_names_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in "".join(shown())
    assert "\x1b[2J" not in "".join(shown(colours=True))


def test_colours_change_no_text() -> None:
    coloured = "\n".join(shown(colours=True))

    assert "\x1b[" in coloured
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in plain.splitlines()] == shown()


def test_a_frame_without_a_scrape_says_why() -> None:
    bare = Observation("http://x", "no answer", 43200, "no answer: refused")

    assert shown(bare) == ["NO ANSWER http://x  12:00:00Z", "no answer: refused"]


def url_of(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}"


class Terminal:
    """A program on a pseudo-terminal of 120 columns, and its output."""

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

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(scaled(10))
        os.close(self.slave)  # the reader's next read fails, once all is read
        self._reader.join(scaled(10))
        os.close(self.master)


@pytest.fixture
def watch(service: Service) -> Iterator[Terminal]:
    terminal = Terminal(*COMMAND, url_of(service), "--every", "0.2")
    try:
        yield terminal
    finally:
        terminal.close()


def test_once_prints_one_frame(service: Service) -> None:
    wait_until(lambda: service.get("/health/ready").status == 200, seconds=60)
    for _ in range(REQUESTS):
        service.get("/api/v1/skills")

    done = subprocess.run(
        [*COMMAND, "--once"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PORT": str(service.port)},
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=True,
    )

    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert re.match(rf"READY     {url_of(service)}  .*since its start", lines[0])
    assert re.search(r"^workers   2 +threads busy \d/8", done.stdout, re.M)
    assert re.search(r"^checks    database +ok +Database accessible", done.stdout, re.M)
    assert re.search(r"^pool      \d in use .* of 10   0 waiting", done.stdout, re.M)
    assert re.search(r"^/api/v1/skills +\d+\.\d\d/s +0\.00% +\d", done.stdout, re.M)


def test_a_restarted_service_has_no_negative_rate(service: Service, watch: Terminal) -> None:
    for _ in range(REQUESTS):
        service.get("/api/v1/skills")
    number = watch.wait_for(r"READY .*last \d+ s.*\n(.*\n)*/health/ready")

    service.stop()
    number = watch.wait_for(r"NO ANSWER .*\n.*no answer: Connection refused", after=number)
    service.start()
    number = watch.wait_for(r"READY .*since its start", after=number)
    watch.wait_for(r"READY .*last \d+ s.*\n(.*\n)*/health/ready", after=number)

    assert not re.search(r"-\d", "".join(watch.frames()))


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_the_terminal_is_restored(watch: Terminal, number: int, status: int) -> None:
    watch.wait_for("READY")

    watch.process.send_signal(number)

    assert watch.process.wait(scaled(30)) == status
    assert termios.tcgetattr(watch.slave) == watch.before
    wait_until(
        lambda: {SHOW_CURSOR, LEAVE_SCREEN} <= set(re.findall(r"\x1b\[\?\d+[hl]", watch.text()))
    )


def test_a_closed_pipe_is_no_traceback(service: Service) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{' '.join(COMMAND)} {url_of(service)} --every 0.1 | head -n 1"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=True,
    )

    assert url_of(service) in done.stdout
    assert done.stderr == ""


def test_no_service_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--once", f"http://127.0.0.1:{free_port()}"]) == 1

    assert "no answer: Connection refused" in capsys.readouterr().out


def test_an_invalid_setting_is_one_sentence(
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
    """A service that shows its metrics for a token."""

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
        thread.join(scaled(10))


def test_the_token_opens_guarded_metrics(
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


def test_the_management_port_is_asked_first(
    guarded: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", str(free_port()))
    monkeypatch.setenv("ATOM_MANAGEMENT_PORT", guarded.rpartition(":")[2])
    monkeypatch.setenv("ATOM_METRICS_TOKEN", TOKEN)

    assert main(["top", "--once"]) == 0
    assert "3 active" in capsys.readouterr().out
