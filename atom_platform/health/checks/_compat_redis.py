"""
The private parts of redis-py that are used: the sockets of the connections in use.

Read on redis-py 5 to 8. Without them `cancel` ends nothing, and a run ends at its socket's own
timeout; one WARNING says so.
"""

from __future__ import annotations

import logging
import socket
from importlib.metadata import version
from typing import Any, Final

__all__ = ["busy_sockets", "can_cancel"]

log = logging.getLogger("atom_platform.health")

IN_USE: Final = "_in_use_connections"


def can_cancel(pool: object) -> bool:
    """Return whether the sockets of *pool* can be found; log it when they cannot."""
    if hasattr(pool, IN_USE):
        return True
    log.warning(
        "redis_version_unproven",
        extra={"version": version("redis"), "off": "cancel; a run ends at its socket's timeout"},
    )
    return False


def busy_sockets(pool: Any) -> list[socket.socket]:
    """Return the sockets of the connections that *pool* has handed out."""
    found = [getattr(each, "_sock", None) for each in list(getattr(pool, IN_USE, ()))]
    return [each for each in found if each is not None]
