"""
The readiness checks that come with the platform, for `Monitoring.check`.

    monitoring.check("redis", redis_check("redis://localhost:6379/0"), timeout_seconds=1)
"""

from __future__ import annotations

from atom_platform.health.check import Check, CheckFailed, CheckResult
from atom_platform.health.checks.disk import disk_check
from atom_platform.health.checks.heartbeat import Heartbeat
from atom_platform.health.checks.http import http_check
from atom_platform.health.checks.memory import memory_check
from atom_platform.health.checks.redis import redis_check
from atom_platform.health.checks.tcp import tcp_check
from atom_platform.health.checks.writable import writable_check

__all__ = [
    "Check",
    "CheckFailed",
    "CheckResult",
    "Heartbeat",
    "disk_check",
    "http_check",
    "memory_check",
    "redis_check",
    "tcp_check",
    "writable_check",
]
