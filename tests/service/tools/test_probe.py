"""`atom-platform probe`, run as an orchestrator runs it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.support.ports import free_port
from tests.support.service import ROOT, Service, clean_environment
from tests.support.stalls import scaled


def probe(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "atom_platform", "probe", *args],
        cwd=ROOT,
        env={**clean_environment(), **env},
        capture_output=True,
        text=True,
        timeout=scaled(30),
        check=False,
    )


@pytest.mark.parametrize("what", ["live", "ready"])
def test_a_good_answer_is_status_0(service: Service, what: str) -> None:
    by_variable = probe(what, PORT=str(service.port))
    by_option = probe(what, "--port", str(service.port), "--host", "localhost", PORT="1")

    assert (by_variable.returncode, by_option.returncode) == (0, 0)
    assert by_variable.stdout == f"{what}: 200 OK\n"


@pytest.mark.parametrize("what", ["live", "ready", "drain"])
def test_no_service_is_status_1_and_one_line(what: str) -> None:
    done = probe(what, PORT=str(free_port()))

    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (b"HTTP/1.1 503 SERVICE UNAVAILABLE\r\n\r\n", "ready: 503 SERVICE UNAVAILABLE"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "ready: no HTTP from 127.0.0.1:"),
        (b"", "ready: no HTTP from 127.0.0.1:"),
        (None, "ready: no answer from 127.0.0.1:"),
    ],
)
def test_other_answers_are_status_1(answer: bytes | None, line: str) -> None:
    """The service is not ready, speaks no HTTP, disconnects, or is silent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                if answer is None:
                    over.wait(20)
                else:
                    client.recv(4096)
                    client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        started = time.monotonic()
        done = probe("ready", "--timeout", f"{scaled(1):.1f}", PORT=str(listener.getsockname()[1]))
        over.set()
        thread.join(scaled(10))

    assert done.returncode == 1
    assert done.stdout.startswith(line)
    assert time.monotonic() - started < scaled(10)


def test_an_invalid_port_is_reported() -> None:
    done = probe("live", PORT="http")

    assert (done.returncode, done.stdout) == (1, "PORT must be a number\n")


def test_it_imports_little() -> None:
    """With a tenth of a CPU, 0.1 s of imports takes 1 s, and the kubelet waits for 1 s."""
    code = (
        "import sys; from atom_platform.cli import main\n"
        "main(['probe', 'live', '--port', '1'])\n"
        "ours = {name for name in sys.modules if name.startswith('atom_platform')}\n"
        "heavy = {'flask', 'gunicorn', 'http.client', 'ssl', 'email', 'asyncio', 'logging'}\n"
        "print(sorted(ours), sorted(heavy & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == (
        "['atom_platform', 'atom_platform.cli', 'atom_platform.tools', "
        "'atom_platform.tools.probe'] []"
    )
