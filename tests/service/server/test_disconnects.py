"""A client that disconnects during a response is counted once."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import pytest

from tests.support.client import get
from tests.support.polling import wait_until
from tests.support.service import Service

NO_LINGER = struct.pack("ii", 1, 0)  # close() then resets the connection


@pytest.mark.parametrize(
    ("args", "path", "endpoint"),
    [
        pytest.param((), "/sleep/0.5", "/sleep/<float:seconds>", id="whole"),
        pytest.param((), "/stream/2000", "/stream/<int:pieces>", id="streamed"),
        pytest.param(("-k", "gthread"), "/sleep/0.5", "/sleep/<float:seconds>", id="whole-gthread"),
        pytest.param(("-k", "sync"), "/sleep/0.5", "/sleep/<float:seconds>", id="whole-sync"),
        pytest.param(
            ("--logger-class", "gunicorn.glogging.Logger"),
            "/sleep/0.5",
            "/sleep/<float:seconds>",
            id="whole-stock-logger",
        ),
        pytest.param(("wrapped",), "/sleep/0.5", "/sleep/<float:seconds>", id="whole-wrapped"),
    ],
)
def test_a_client_that_hangs_up_is_counted_once(
    serve: Callable[..., Service], args: tuple[str, ...], path: str, endpoint: str
) -> None:
    if args == ("wrapped",):
        service = serve(args=("-w", "1"), app="tests.support.wrapped_application:app")
    else:
        service = serve(args=("-w", "1", *args))
    service.get("/sleep/0.0")
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        client.sendall(get(path))
        if path.startswith("/stream"):
            client.recv(1)

    wait_until(lambda: service.total("http_responses_aborted_total") >= 1)
    service.get("/sleep/0.0")

    assert service.sample("http_responses_aborted_total", reason="disconnect") == 1
    assert service.sample("http_responses_aborted_total", reason="error") == 0
    answered = service.total("http_requests_total", endpoint=endpoint)
    assert answered == (1 if path.startswith("/stream") else 3)
