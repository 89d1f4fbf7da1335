"""
`probe`: asks the service from inside its container, where there may be no curl.

Imports little: with a tenth of a CPU an import takes ten times as long, and the orchestrator waits
for a few seconds.
"""

from __future__ import annotations

import os
import socket
import time
from typing import Final

import click

__all__ = ["command"]

PATHS: Final = {"live": "/health/live", "ready": "/health/ready"}


@click.command(name="probe")
@click.argument("what", type=click.Choice(("live", "ready", "drain")))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the service.")
@click.option("--port", type=int, help="TCP port of the service.  [default: PORT, or 8000]")
@click.option(
    "--timeout", type=float, default=4.0, show_default=True, help="Seconds, for live and ready."
)
def command(what: str, host: str, port: int | None, timeout: float) -> int:
    """
    Ask the service, or drain it.

    \b
    live   exit status 0 while liveness answers 200, else 1
    ready  the same for readiness
    drain  for preStop: drain the service, and return when the drain has ended
    """
    if port is None:
        text = os.environ.get("PORT", "").strip() or "8000"
        if not text.isdigit():
            click.echo("PORT must be a number")
            return 1
        port = int(text)
    if what == "drain":
        return _drain(port)
    return _ask(what, host, port, timeout_seconds=timeout)


def _ask(what: str, host: str, port: int, *, timeout_seconds: float) -> int:
    try:
        answer = _get(PATHS[what], host, port, deadline=time.monotonic() + timeout_seconds)
    except OSError as error:
        click.echo(f"{what}: no answer from {host}:{port} ({error})")
        return 1
    version, _, status = answer.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    if not version.startswith("HTTP/"):
        click.echo(f"{what}: no HTTP from {host}:{port}")
        return 1
    click.echo(f"{what}: {status}")
    return 0 if status.startswith("200") else 1


def _get(path: str, host: str, port: int, *, deadline: float) -> bytes:
    """Return the answer to a GET, at least its first line; raise OSError past the deadline."""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
        "User-Agent: atom-platform-probe\r\nConnection: close\r\n\r\n"
    )
    answer = b""
    with socket.create_connection((host, port), timeout=_left(deadline)) as connection:
        connection.sendall(request.encode("ascii"))
        while b"\r\n" not in answer:
            connection.settimeout(_left(deadline))
            piece = connection.recv(4096)
            if not piece:
                break
            answer += piece
    return answer


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _drain(port: int) -> int:
    """Ask for a drain, and wait until the drain or the service ends."""
    from atom_platform.server import pidfile  # only here: it takes as long to import as the rest

    arbiter = pidfile.find(port)
    if arbiter is None:
        click.echo(f"drain: no service of this user on port {port}")
        return 1
    try:
        os.kill(arbiter.pid, pidfile.DRAIN_SIGNAL)
    except OSError as error:
        click.echo(f"drain: {error}")
        return 1
    over = time.monotonic() + arbiter.drain_seconds
    while time.monotonic() < over and arbiter.alive:
        time.sleep(min(0.1, max(0.0, over - time.monotonic())))
    click.echo(f"drain: {'over' if arbiter.alive else 'the service has ended'}")
    return 0
