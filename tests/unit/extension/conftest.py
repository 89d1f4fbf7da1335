"""The fixtures that these tests share with the others of extension."""

from tests.unit.metrics.conftest import (
    _fresh_storage,
)

__all__ = ["_fresh_storage"]
