"""http_check is healthy by the status of another service, and `cancel` ends it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from atom_platform.health.check import CheckFailed, CheckResult
from atom_platform.health.checks.http import HttpCheck, http_check
from tests.support.polling import wait_until
from tests.support.ports import free_port
from tests.support.stalls import scaled

Serve = Callable[[bytes], str]


@pytest.fixture(name="serve")
def _serve() -> Iterator[Serve]:
    """Return a function that starts a server for one request, and returns its URL."""
    with ExitStack() as stack:

        def serve(answer: bytes) -> str:
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            server.settimeout(scaled(30))

            def handle() -> None:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(65536))
                    connection.sendall(answer)
                    if not answer.endswith(b"\r\n\r\n"):
                        connection.settimeout(scaled(30))
                        connection.recv(1)  # wait until the other side closes

            thread = threading.Thread(target=handle)
            thread.start()
            stack.callback(thread.join, 30)
            return f"http://127.0.0.1:{server.getsockname()[1]}/ping?deep=1"

        asked: list[bytes] = []
        serve.asked = asked  # type: ignore[attr-defined]
        yield serve


def answer(status: int) -> bytes:
    return f"HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("status", "healthy"), [(200, True), (204, True), (302, True), (404, False), (503, False)]
)
def test_the_status_decides(serve: Serve, status: int, healthy: bool) -> None:
    result = http_check(serve(answer(status)), timeout_seconds=30)()

    assert result == CheckResult(
        healthy,
        f"HTTP dependency answered {status}",
        code="ok" if healthy else "unexpected_status",
    )


def test_the_request_has_the_path_and_the_headers(serve: Any) -> None:
    http_check(serve(answer(200)), timeout_seconds=30, headers={"Authorization": "Bearer x"})()

    (asked,) = serve.asked
    assert asked.startswith(b"GET /ping?deep=1 HTTP/1.1\r\n")
    assert b"Authorization: Bearer x\r\n" in asked


def test_another_status_can_be_expected(serve: Serve) -> None:
    assert http_check(serve(answer(401)), timeout_seconds=30, expect=(401,))().healthy


def test_a_silent_server_is_a_timeout(serve: Serve) -> None:
    with pytest.raises(CheckFailed, match=r"^HTTP dependency timeout$"):
        http_check(serve(b"HTTP/1.1 "), timeout_seconds=0.2)()


def test_an_answer_that_is_no_http_has_a_message_of_its_own(serve: Serve) -> None:
    with pytest.raises(CheckFailed, match=r"^HTTP dependency does not speak HTTP$"):
        http_check(serve(b"220 smtp.example.com ESMTP\r\n\r\n"), timeout_seconds=30)()


def test_a_refused_connection_is_reported_without_the_host() -> None:
    with pytest.raises(CheckFailed, match=r"^HTTP dependency refused the connection$"):
        http_check(f"http://127.0.0.1:{free_port()}/")()


def test_cancel_ends_a_run_that_waits(serve: Serve) -> None:
    """Only `cancel` ends a run whose peer sends a byte from time to time."""
    check = http_check(serve(b"HTTP/1.1 200 OK\r\nX-Slow: "), timeout_seconds=300)
    thread = threading.Thread(target=lambda: ended.append(outcome_of(check)))
    ended: list[str] = []

    def cancelled() -> bool:
        check.cancel()
        return bool(ended)

    thread.start()
    wait_until(cancelled, seconds=60)
    thread.join(scaled(60))

    assert len(ended) == 1


def outcome_of(check: HttpCheck) -> str:
    """Any error will do: the runner has reported the timeout already."""
    try:
        return check().message
    except CheckFailed as error:
        return str(error)


@pytest.mark.parametrize("url", ["ftp://host/", "/ping", "http://", "http://user:secret@host/"])
def test_a_url_with_credentials_or_another_scheme_is_rejected(url: str) -> None:
    with pytest.raises(ValueError, match="HTTP check") as refused:
        http_check(url)

    assert "secret" not in str(refused.value)
