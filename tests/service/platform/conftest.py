"""One service per database for the tests that only ask; those that break it start their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import PostgreSQL
from tests.support.service import Service, migrate, running_service


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The service with 2 workers, on either database."""
    directory = tmp_path_factory.mktemp("service")
    env = {"ATOM_LOG_LEVEL": "DEBUG"}
    if request.param == "postgresql":
        server: PostgreSQL = request.getfixturevalue("postgresql")
        env["DATABASE_URL"] = server.create_database(f"atom_{directory.name}")
        migrate(env)
    with running_service(directory, env=env) as running:
        yield running
