"""Who may see metrics and checks: judged by what the server knows, not by what a client writes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from atom_platform.extension.access_control import AccessDecision, AccessPolicy

TOKEN = "s3cret-" * 4


@pytest.fixture(name="listener")
def _listener() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener


def bearing(authorization: str) -> dict[str, Any]:
    return {"HTTP_AUTHORIZATION": authorization}


def test_without_either_everybody_may() -> None:
    access = AccessPolicy()

    assert not access.restricted
    assert access.verdict({}) is AccessDecision.OPEN
    assert not access.on_management_port({})


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_token_opens(scheme: str) -> None:
    access = AccessPolicy(token=TOKEN)

    assert access.restricted
    assert access.verdict(bearing(f"{scheme} {TOKEN}")) is AccessDecision.OPEN


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        TOKEN,
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN.upper()}",
        f"Bearer x,Bearer {TOKEN}",
        f"Bearer {TOKEN} x",
        "Bearer \xff\xfe",
        "Bearer \udc80",
    ],
)
def test_anything_else_does_not(authorization: str) -> None:
    assert AccessPolicy(token=TOKEN).verdict(bearing(authorization)) is AccessDecision.GUARDED


def test_no_header_is_no_token() -> None:
    assert AccessPolicy(token=TOKEN).verdict({}) is AccessDecision.GUARDED


def test_the_port_is_the_sockets(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    environ = {"gunicorn.socket": listener, "SERVER_PORT": "1", "HTTP_HOST": "x:1"}

    assert AccessPolicy(management_port=port).verdict(environ) is AccessDecision.OPEN
    assert AccessPolicy(management_port=port).on_management_port(environ)


@pytest.mark.parametrize("header", ["HTTP_HOST", "HTTP_X_FORWARDED_PORT", "SERVER_PORT"])
def test_a_port_that_a_client_writes_opens_nothing(listener: socket.socket, header: str) -> None:
    access = AccessPolicy(management_port=9100)

    environ = {"gunicorn.socket": listener, "HTTP_HOST": "x:9100", header: "9100"}

    assert access.verdict(environ) is AccessDecision.HIDDEN
    assert access.verdict({**environ, **bearing("Bearer x")}) is AccessDecision.HIDDEN


def test_what_shows_no_port_is_not_the_management_port() -> None:
    """A Unix socket, another server, a connection that has gone."""
    access = AccessPolicy(management_port=9100)
    here, there = socket.socketpair(socket.AF_UNIX)
    gone = socket.socket()
    gone.close()

    with here, there:
        for environ in ({}, {"gunicorn.socket": here}, {"gunicorn.socket": gone}):
            assert access.verdict(environ) is AccessDecision.HIDDEN


def test_with_both_both_have_to_be_right(listener: socket.socket) -> None:
    access = AccessPolicy(token=TOKEN, management_port=listener.getsockname()[1])
    inside = {"gunicorn.socket": listener}

    assert access.verdict(inside) is AccessDecision.GUARDED
    assert access.verdict(bearing(f"Bearer {TOKEN}")) is AccessDecision.HIDDEN
    assert access.verdict({**inside, **bearing(f"Bearer {TOKEN}")}) is AccessDecision.OPEN
