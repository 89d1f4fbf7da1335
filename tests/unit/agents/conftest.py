"""The API on a real database, with the built-in skills and a few that misbehave."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from atom_platform.agents.service import AgentService
from atom_platform.agents.store import AgentStore
from atom_platform.agents.views import create_blueprint
from atom_platform.database.engine import Database, open_database
from atom_platform.database.migrate import upgrade
from atom_platform.database.schema import agents, executions
from atom_platform.settings import Settings
from atom_platform.skills.builtin import builtin_skills
from atom_platform.skills.registry import SkillRegistry
from tests.support.api import Api
from tests.support.postgres import PostgreSQL
from tests.support.skills import register_test_skills


@pytest.fixture(scope="module", params=["sqlite", "postgresql"], name="database_url")
def _database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("agents")
    if request.param == "sqlite":
        return f"sqlite:///{directory}/atom.db"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.create_database(f"atom_{directory.name}")


@pytest.fixture(scope="module", name="migrated")
def _migrated(database_url: str) -> Iterator[Database]:
    """One database a module and kind, with tables; `database` is it without rows."""
    database = open_database(Settings(database_url=database_url))
    upgrade(database)
    yield database
    database.dispose()


@pytest.fixture(name="database")
def _database(migrated: Database) -> Database:
    with migrated.write() as connection:
        connection.execute(agents.delete())
        connection.execute(executions.delete())
    return migrated


@pytest.fixture(name="skills")
def _skills() -> SkillRegistry:
    skills = SkillRegistry()
    for skill in builtin_skills(Settings()):
        skills.register(skill)
    register_test_skills(skills)
    return skills


@pytest.fixture(name="service")
def _service(database: Database, skills: SkillRegistry) -> AgentService:
    return AgentService(AgentStore(database), skills)


@pytest.fixture(name="app")
def _app(service: AgentService) -> Flask:
    app = Flask(__name__)
    app.register_blueprint(create_blueprint(service))
    return app


@pytest.fixture(name="client")
def _client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(name="api")
def _api(client: FlaskClient) -> Api:
    return Api(client)
