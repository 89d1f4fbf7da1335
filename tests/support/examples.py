"""How many examples a property test tries: all of them, or few for a run that must be quick."""

from __future__ import annotations

import os

__all__ = ["examples"]


def examples(count: int) -> int:
    """Return *count*, or a tenth of it (5 at least) when TEST_EXAMPLES is `few`."""
    return max(5, count // 10) if os.environ.get("TEST_EXAMPLES") == "few" else count
