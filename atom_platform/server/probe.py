"""
Asks the service from inside its container, where there may be no curl.

    probe live      exit status 0 while liveness answers 200
    probe ready     likewise readiness
    probe drain     for preStop: drain the service, and return when the drain is over

Standard library only, and little of it: with a tenth of a CPU an import takes ten times as long,
and the orchestrator waits a few seconds in all.
"""

from __future__ import annotations

import argparse
import os
import socket
import time
from typing import Final

from atom_platform.server import pidfile

__all__ = ["main"]

PATHS: Final = {"live": "/health/live", "ready": "/health/ready"}


def main(argv: list[str]) -> int:
    """Do what *argv* says, print one line about it, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m atom_platform probe", description="Ask the service, or drain it."
    )
    parser.add_argument("what", choices=("live", "ready", "drain"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, help="default: PORT, or 8000")
    parser.add_argument("--timeout", type=float, default=4.0, help="of live and ready, in seconds")
    options = parser.parse_args(argv)
    port = options.port
    if port is None:
        text = os.environ.get("PORT", "").strip() or "8000"
        if not text.isdigit():
            print("PORT must be a number")
            return 1
        port = int(text)
    if options.what == "drain":
        return _drain(port)
    return _ask(options.what, options.host, port, timeout_seconds=options.timeout)


def _ask(what: str, host: str, port: int, *, timeout_seconds: float) -> int:
    try:
        answer = _get(PATHS[what], host, port, deadline=time.monotonic() + timeout_seconds)
    except OSError as error:
        print(f"{what}: no answer from {host}:{port} ({error})")
        return 1
    version, _, status = answer.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    if not version.startswith("HTTP/"):
        print(f"{what}: no HTTP from {host}:{port}")
        return 1
    print(f"{what}: {status}")
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
    """Ask for a drain, and wait for its end or the service's, whichever comes first."""
    arbiter = pidfile.find(port)
    if arbiter is None:
        print(f"drain: no service of this user on port {port}")
        return 1
    try:
        os.kill(arbiter.pid, pidfile.DRAIN_SIGNAL)
    except OSError as error:
        print(f"drain: {error}")
        return 1
    over = time.monotonic() + arbiter.drain_seconds
    while time.monotonic() < over and arbiter.alive:
        time.sleep(min(0.1, max(0.0, over - time.monotonic())))
    print(f"drain: {'over' if arbiter.alive else 'the service has ended'}")
    return 0
