"""The fixtures that these tests share with the others of database."""

from tests.service.database.conftest import (
    _open_url,
    sqlite_url,
)

__all__ = ["_open_url", "sqlite_url"]
