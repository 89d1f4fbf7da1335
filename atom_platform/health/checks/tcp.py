"""TCP check: a server accepts connections on the port; its own protocol is not tested."""

from __future__ import annotations

import socket

from atom_platform.health.check import Check, CheckResult
from atom_platform.health.checks.network_errors import network_failure

__all__ = ["tcp_check"]


def tcp_check(host: str, port: int, *, timeout_seconds: float = 1.0) -> Check:
    """
    Return a check that is healthy while *host* accepts connections on *port*.

    Args:
        timeout_seconds: Longest that each address of the host may take. Resolving the name may
            take longer: the runner keeps the deadline.

    Raises:
        CheckFailed: From the returned check, when the port accepts no connection.
    """

    def check() -> CheckResult:
        try:
            socket.create_connection((host, port), timeout=timeout_seconds).close()
        except OSError as error:
            raise network_failure("Port", error) from error
        return CheckResult(healthy=True, message="Port open")

    return check
