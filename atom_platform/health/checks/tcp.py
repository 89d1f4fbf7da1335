"""TCP check: somebody listens there. Whether they also work, only their own protocol can tell."""

from __future__ import annotations

import socket

from atom_platform.health.check import Check, CheckResult
from atom_platform.health.checks.network_errors import network_failure

__all__ = ["tcp_check"]


def tcp_check(host: str, port: int, *, timeout_seconds: float = 1.0) -> Check:
    """
    Return a check that is healthy while *host* accepts connections on *port*.

    Args:
        timeout_seconds: Longest each of the host's addresses may take. A name that no server
            resolves may take longer: whoever runs the check brings the deadline.

    Raises:
        CheckFailed: From the returned check, when there is no connection to be had.
    """

    def check() -> CheckResult:
        try:
            socket.create_connection((host, port), timeout=timeout_seconds).close()
        except OSError as error:
            raise network_failure("Port", error) from error
        return CheckResult(healthy=True, message="Port open")

    return check
