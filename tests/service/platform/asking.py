"""Asking the service at any of its ports, and running its own commands beside it."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Mapping

from tests.support.service import ROOT, Answer, Service
from tests.support.stalls import scaled

__all__ = ["ask", "command"]


def ask(
    port: int, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
) -> Answer:
    """Send one request to *port* of loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=scaled(40))
    try:
        connection.request(method, path, headers=dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def command(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of ours as from inside the service's container."""
    return subprocess.run(
        [sys.executable, "-m", "atom_platform", *arguments],
        cwd=ROOT,
        env=service.env,
        capture_output=True,
        text=True,
        timeout=scaled(120),
        check=False,
    )
