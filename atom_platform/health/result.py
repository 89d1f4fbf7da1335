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
        details: Measurements shown beside it; names carry units (`free_gb`).
    """

    healthy: bool
    message: str
    details: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of the guide: `healthy`, `message`, then the details."""
        return {"healthy": self.healthy, "message": self.message, **self.details}


class CheckFailed(Exception):
    """The dependency cannot be used; the text is one of the fixed sentences that may be shown to anyone."""


Check: TypeAlias = Callable[[], CheckResult]
