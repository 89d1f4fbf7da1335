"""The fixtures that these tests share with the others of agents."""

from tests.unit.agents.conftest import (
    _app,
    _client,
    _database,
    _database_url,
    _migrated,
    _service,
    _skills,
)

__all__ = ["_app", "_client", "_database", "_database_url", "_migrated", "_service", "_skills"]
