"""The composition root: builds each object once, and registers each blueprint once."""

from __future__ import annotations

from flask import Flask

from atom_platform.agents import views as agent_views
from atom_platform.agents.service import AgentService
from atom_platform.agents.store import AgentStore
from atom_platform.database.engine import Database, open_database
from atom_platform.database.instrument import instrument_engine
from atom_platform.database.migrate import schema_state, upgrade
from atom_platform.health.checks.database import database_check
from atom_platform.health.checks.schema import schema_check
from atom_platform.logs.context import note_query, outgoing_headers
from atom_platform.monitoring import Monitoring, get_logger, log_request
from atom_platform.server.worker_exits import request_restart
from atom_platform.settings import Settings
from atom_platform.skills.builtin import builtin_skills
from atom_platform.skills.registry import SkillRegistry

__all__ = ["create_app"]

log = get_logger(__name__)


def create_app(settings: Settings | None = None) -> Flask:
    """
    Return the platform's Flask application.

    Args:
        settings: Read from the environment by default.

    Raises:
        SettingsError: The environment holds what a setting cannot take.
    """
    app = Flask(__name__, static_folder=None)
    monitoring = Monitoring(settings=settings or Settings.from_environ())
    database = open_database(monitoring.settings)
    database.on_open(lambda engine: instrument_engine(engine, on_query=note_query))
    watch_database(monitoring, database)
    monitoring.watch_disk()

    skills = SkillRegistry()
    for skill in builtin_skills(monitoring.settings, outgoing_headers=outgoing_headers):
        skills.register(skill)
    service = AgentService(AgentStore(database), skills)

    monitoring.init_app(app)
    app.register_blueprint(agent_views.create_blueprint(service, log_request=log_request))
    return app


def watch_database(monitoring: Monitoring, database: Database) -> None:
    """Make readiness depend on *database* and on its schema; bring an embedded one up to date."""
    if database.is_sqlite:
        try:
            upgrade(database)
        except Exception:  # readiness tells the operator; a restart would mend nothing
            log.exception("database_not_migrated")
    database.on_pool_broken(lambda: request_restart("database_pool_wedged"))
    monitoring.health.register(
        "database",
        database_check(database.ping),
        timeout_seconds=monitoring.settings.database_check_timeout_seconds,
        cancel=database.ping.cancel,
        measures_latency=True,
    )
    monitoring.health.register_startup_check(
        "schema",
        schema_check(lambda: schema_state(database)),
        timeout_seconds=monitoring.settings.database_check_timeout_seconds,
        after="database",
    )
