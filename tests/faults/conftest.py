"""The fixtures that these tests share with the others of faults."""

from tests.unit.metrics.conftest import (
    _directory,
    _fresh_storage,
    collected,
)

__all__ = ["_directory", "_fresh_storage", "collected"]
