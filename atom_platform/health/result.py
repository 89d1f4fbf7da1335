"""What a health check is, and what it says."""

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
    """

    healthy: bool
    message: str
    details: Mapping[str, float | None] = field(default_factory=dict)
    blocks_startup: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of the guide: `healthy`, `message`, then the details."""
        return {"healthy": self.healthy, "message": self.message, **self.details}


class CheckFailed(Exception):
    """The dependency cannot be used; the text is a fixed sentence that anyone may read."""


Check: TypeAlias = Callable[[], CheckResult]
