"""
What a health check is, and what it says.

Every result has a code: a short, stable identifier for programs, where the message is for humans
and may be reworded. Our own checks use these; an application's check may use any other word.

| code | meaning |
| --- | --- |
| `ok` | healthy, nothing to say |
| `unhealthy` | unhealthy, without a narrower code |
| `check_failed` | the check raised an exception; the log has it |
| `pending`, `stale` | no run has ended yet; the last run is too old to be believed |
| `timeout` | no answer within the deadline |
| `refused`, `unreachable`, `connection_lost`, `host_not_resolvable`, `tls_failed` | the network |
| `authentication_failed`, `wrong_role`, `connection_limit`, `not_accepting` | the server refuses |
| `starting_up`, `shutting_down` | the server restarts |
| `no_such_database`, `pool_exhausted`, `schema_behind`, `schema_ahead` | the database |
| `locked`, `file_inaccessible`, `file_read_only`, `file_damaged` | the SQLite file |
| `disk_low`, `disk_full`, `memory_high` | this machine |
| `missing`, `read_only`, `not_writable`, `io_error`, `stale_mount` | a directory |
| `unexpected_status`, `invalid_response` | an HTTP dependency |
| `never_ran`, `overdue` | a task's heartbeat |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["Check", "CheckFailed", "CheckResult"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """
    The outcome of one check.

    Attributes:
        healthy: Whether the dependency can be used right now.
        message: One short sentence for a human; never a secret, a host, a URL or a traceback.
        details: Measurements shown beside it; names carry units (`free_gb`). `None` is shown as
            null: it belongs here, and could not be measured.
        blocks_startup: Read for gates only: whether a worker that sees this has not started yet.
            False for what neither waiting nor a restart can change.
        code: See the module; by default `ok` or `unhealthy`. Shown with `?verbose` only.
    """

    healthy: bool
    message: str
    details: Mapping[str, float | None] = field(default_factory=dict)
    blocks_startup: bool = True
    code: str = ""

    def __post_init__(self) -> None:
        if not self.code:
            object.__setattr__(self, "code", "ok" if self.healthy else "unhealthy")

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of the guide: `healthy`, `message`, then the details."""
        return {"healthy": self.healthy, "message": self.message, **self.details}


class CheckFailed(Exception):
    """
    The dependency cannot be used; the text is a fixed sentence that anyone may read.

    Args:
        message: The sentence.
        code: See `CheckResult`.
    """

    def __init__(self, message: str = "", *, code: str = "unhealthy") -> None:
        super().__init__(message)
        self.code = code


Check: TypeAlias = Callable[[], CheckResult]
