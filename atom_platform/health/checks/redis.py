"""
Redis check: a PING is answered, on a connection that is kept.

Needs `pip install atom-platform[redis]`. Register a Redis that is only a cache with
`critical=False`: without the cache the service is slower, and without its workers it is down.
"""

from __future__ import annotations

from typing import Any, Final

from atom_platform.health.check import CheckFailed, CheckResult
from atom_platform.health.checks._compat_redis import busy_sockets, can_cancel
from atom_platform.health.checks.network_errors import shut_down

__all__ = ["RedisCheck", "redis_check"]

#: By class of redis-py's exceptions, the narrowest first.
SENTENCES: Final = (
    ("AuthenticationError", "Redis authentication failed", "authentication_failed"),
    ("AuthorizationError", "Redis authentication failed", "authentication_failed"),
    ("NoPermissionError", "Redis authentication failed", "authentication_failed"),
    ("BusyLoadingError", "Redis is loading its data", "starting_up"),
    ("MaxConnectionsError", "Redis connection limit reached", "connection_limit"),
    ("TimeoutError", "Redis timeout", "timeout"),
    ("ConnectionError", "Redis not reachable", "unreachable"),
)


class RedisCheck:
    """See `redis_check`."""

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        # Imported here because the client is an optional dependency.
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._errors: Any = redis.exceptions
        self._pool = redis.ConnectionPool.from_url(
            url,
            max_connections=1,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 0),  # the next run is the next attempt
        )
        can_cancel(self._pool)
        self._client = redis.Redis(connection_pool=self._pool)

    def __call__(self) -> CheckResult:
        try:
            self._client.ping()
        except self._errors.RedisError as error:
            raise self._failure(error) from error
        return CheckResult(healthy=True, message="Redis accessible")

    def cancel(self) -> None:
        """End the run in flight; any thread may call it, at any time."""
        for each in busy_sockets(self._pool):
            shut_down(each)

    def close(self) -> None:
        """Close the connection; the next run makes a new one."""
        self._pool.disconnect()

    def _failure(self, error: Exception) -> CheckFailed:
        for name, sentence, code in SENTENCES:
            kind = getattr(self._errors, name, None)
            if kind is not None and isinstance(error, kind):
                return CheckFailed(sentence, code=code)
        return CheckFailed("Redis error")


def redis_check(url: str, *, timeout_seconds: float = 1.0) -> RedisCheck:
    """
    Return a check that is healthy while the Redis at *url* answers.

    Args:
        url: A URL of redis-py: `redis://`, `rediss://` or `unix://`.
        timeout_seconds: Longest that connecting may take, and the answer again.

    Raises:
        ModuleNotFoundError: redis-py is not installed.
        ValueError: The URL is not one of Redis.
        CheckFailed: From the returned check, when there is no answer.
    """
    return RedisCheck(url, timeout_seconds=timeout_seconds)
