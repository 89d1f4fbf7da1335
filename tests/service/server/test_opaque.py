"""Bytes that only gunicorn understands go to gunicorn: TLS and the PROXY protocol."""

from __future__ import annotations

import http.client
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.client import Client, get
from tests.support.load import connected
from tests.support.polling import wait_until
from tests.support.service import Service
from tests.support.stalls import scaled

Serve = Callable[..., Service]

PROXY = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 8000\r\n"


def test_proxy_protocol(serve: Serve) -> None:
    """The access line shows the client's address, not the proxy's; requests follow one another."""
    service = serve_behind_proxy(serve)
    with connected(service, 1, PROXY + get("/pid")) as (client,):
        assert client.reply().body.isdigit()
        assert client.ask("/health/live").status == 200
        client.send(get("/pid") + get("/health/ready", "Connection: close"))
        assert [client.reply().status for _ in range(2)] == [200, 200]
        assert client.is_closed()

    wait_until(lambda: service.logged("http_request", path="/pid", remote_addr="192.0.2.1"))


def serve_behind_proxy(serve: Serve) -> Service:
    """The start is watched without PROXY lines, which the automatic mode does not insist on."""
    return serve(args=["--proxy-protocol", "auto", "--workers", "1"])


@pytest.fixture(name="certificate")
def _certificate(tmp_path: Path) -> tuple[str, str]:
    """A key and a certificate for localhost."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
        timeout=scaled(60),
    )
    return str(key), str(certificate)


def test_tls(tmp_path: Path, certificate: tuple[str, str]) -> None:
    """Silent clients and one that speaks no TLS included."""
    key, certificate_file = certificate
    service = Service(
        tmp_path,
        app="tests.support.application:app",
        args=["--keyfile", key, "--certfile", certificate_file, "--workers", "1"],
    )
    context = ssl.create_default_context(cafile=certificate_file)

    def connect() -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            "localhost", service.port, timeout=scaled(10), context=context
        )

    def started() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", service.port), timeout=1):
                return True
        except OSError:
            return False

    with ExitStack() as stack:
        stack.callback(service.kill)
        service.start(wait=False)
        wait_until(started, seconds=40)
        stack.enter_context(connected(service, 50))
        (plain,) = stack.enter_context(connected(service, 1))
        plain.send(get("/pid"))
        connection = connect()
        stack.callback(connection.close)
        bodies = []
        for path in ("/pid", "/health/live", "/pid"):
            connection.request("GET", path)
            bodies.append(connection.getresponse().read())

        assert bodies[0] == bodies[2]
        assert b"alive" in bodies[1]
        assert service.stop() == 0


def test_a_unix_socket(tmp_path: Path) -> None:
    """Clients have no address there, and the path is no host."""
    path = tmp_path / "socket"
    service = Service(
        tmp_path,
        app="tests.support.application:app",
        args=["--bind", f"unix:{path}", "--workers", "1"],
    )
    with ExitStack() as stack:
        stack.callback(service.kill)
        service.start(wait=False)
        wait_until(path.exists, seconds=40)
        sock = stack.enter_context(socket.socket(socket.AF_UNIX))
        sock.settimeout(scaled(20))
        sock.connect(str(path))
        client = Client(sock)

        assert client.ask("/health/live").status == 200
        client.send(get("/health/live")[:10])
        client.send(get("/health/live")[10:])
        assert client.reply().status == 200
        assert client.ask("/pid").body.isdigit()
        assert service.stop() == 0
