"""Without its database the API says so, at once, and the metrics stay right."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from atom_platform.agents.service import AgentService
from atom_platform.agents.store import AgentStore
from atom_platform.agents.views import create_blueprint
from atom_platform.database.engine import Database, open_database
from atom_platform.metrics.scrape import views as metrics_views
from atom_platform.metrics.scrape.page import MetricsPage
from atom_platform.settings import Settings
from atom_platform.skills.registry import Skill, SkillRegistry
from tests.support.api import Api, problem, step
from tests.support.ports import free_port
from tests.support.skills import Anything

AGENT = {"agent_id": "a", "name": "A", "steps": []}


def client_on(database: Database, skills: SkillRegistry) -> FlaskClient:
    app = Flask(__name__)
    app.register_blueprint(create_blueprint(AgentService(AgentStore(database), skills)))
    return app.test_client()


def test_refused(skills: SkillRegistry) -> None:
    """The response names neither the host nor the user of the database."""
    url = f"postgresql://atom:hunter2@127.0.0.1:{free_port()}/atom"
    database = open_database(Settings(database_url=url))
    client = client_on(database, skills)

    try:
        answers = [
            client.get("/api/v1/agents"),
            client.post("/api/v1/agents", json=AGENT),
            client.get("/api/v1/agents/a"),
            client.put("/api/v1/agents/a", json=AGENT),
            client.delete("/api/v1/agents/a"),
            client.post("/api/v1/agents/a/executions"),
            client.get("/api/v1/agents/a/executions"),
            client.get("/api/v1/executions/01a209a2-47ff-72f0-b711-4376c5ab5cfd"),
        ]
    finally:
        database.dispose()

    for answer in answers:
        told = problem(answer, 503)
        assert answer.headers["Retry-After"] == "5"
        assert told["type"] == "urn:atom:problem:store-unavailable"
        assert not {"hunter2", "127.0.0.1", "psycopg"} & set(answer.get_data(as_text=True).split())
    assert client.get("/api/v1/skills").status_code == 200


def test_not_migrated(skills: SkillRegistry, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("empty") / "atom.db"
    path.touch()
    database = open_database(Settings(database_url=f"sqlite:///{path}"))

    try:
        problem(client_on(database, skills).get("/api/v1/agents"), 503)
    finally:
        database.dispose()


def test_every_connection_taken(
    database: Database, database_url: str, skills: SkillRegistry
) -> None:
    narrow = open_database(
        Settings(
            database_url=database_url,
            database_pool_size=1,
            database_pool_timeout_seconds=0.1,
        )
    )
    client = client_on(narrow, skills)

    try:
        with narrow.read():
            problem(client.get("/api/v1/agents"), 503)
        assert client.get("/api/v1/agents").status_code == 200
    finally:
        narrow.dispose()


def test_an_execution_that_cannot_be_stored_is_counted_and_told(
    api: Api, app: Flask, database: Database, skills: SkillRegistry
) -> None:
    """The table goes away while the agent runs."""

    def rename(old: str, new: str) -> None:
        with database.write() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")

    def pull_the_rug(asked: Anything) -> object:
        rename("executions", "hidden")
        return "done"

    skills.register(Skill("pull-the-rug", "", Anything, pull_the_rug))
    app.register_blueprint(metrics_views.create_blueprint(MetricsPage()))
    agent_id = f"rugged-{'sqlite' if database.is_sqlite else 'postgresql'}"
    api.create(agent_id, step("pull-the-rug"))

    try:
        answer = api.client.post(f"/api/v1/agents/{agent_id}/executions")
    finally:
        rename("hidden", "executions")

    told = problem(answer, 503)
    assert told["type"] == "urn:atom:problem:execution-not-stored"
    assert told["execution_status"] == "success"
    assert told["execution_id"]
    text = api.client.get("/health/metrics").get_data(as_text=True)
    counted = {
        sample.labels["status"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "agent_executions_total" and sample.labels["agent_id"] == agent_id
    }
    assert counted.get("success") == 1
    assert sum(counted.values()) == 1
