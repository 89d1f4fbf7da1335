"""upgrade migrates once and as a whole; schema_state compares the result with the code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from atom_platform.database import migrate
from atom_platform.database.engine import Database
from atom_platform.database.migrate import MIGRATIONS, known_revisions, schema_state, upgrade
from atom_platform.database.schema import metadata
from atom_platform.health.check import CheckFailed
from tests.support.postgres import PostgreSQL
from tests.support.stalls import scaled

Open = Callable[..., Database]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, sqlite_url: str) -> Iterator[str]:
    """An empty database of either kind."""
    if request.param == "sqlite":
        yield sqlite_url
    else:
        server: PostgreSQL = request.getfixturevalue("postgresql")
        yield server.create_database("migrated")


def stamp(database: Database, revision: str) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


def test_an_empty_database_becomes_current(url: str, open_url: Open) -> None:
    database = open_url(url)

    assert upgrade(database) == "current"
    assert schema_state(database) == "current"
    assert upgrade(database) == "current"


def test_an_empty_database_is_behind(url: str, open_url: Open) -> None:
    database = open_url(url)
    with database.migrating() as connection:
        connection.execute(text("CREATE TABLE unrelated (a int)"))

    assert schema_state(database) == "behind"


def test_a_newer_schema_is_ahead_and_left_alone(url: str, open_url: Open) -> None:
    """A rollback to an old version must not change the new schema."""
    database = open_url(url)
    upgrade(database)
    stamp(database, "9999")

    assert schema_state(database) == "ahead"
    assert upgrade(database) == "ahead"
    with database.read() as connection:
        assert (
            connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
        )


def test_the_migrations_create_the_tables_of_the_code(url: str, open_url: Open) -> None:
    database = open_url(url)
    upgrade(database)

    with database.read() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)

    assert differences == []


def test_processes_that_migrate_at_once(url: str) -> None:
    code = f"""
from atom_platform.database.engine import open_database
from atom_platform.database.migrate import upgrade
from atom_platform.settings import Settings
database = open_database(Settings(database_url={url!r}))
print(upgrade(database))
database.dispose()
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code], stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]

    said = [process.communicate(timeout=scaled(60))[0].strip() for process in processes]

    assert said == ["current"] * 4
    assert [process.returncode for process in processes] == [0] * 4


def test_a_failing_migration_changes_nothing(
    url: str, open_url: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = tmp_path / "migrations/versions"
    versions.mkdir(parents=True)
    (tmp_path / "migrations/env.py").write_text((MIGRATIONS / "env.py").read_text())
    (versions / "0001_half.py").write_text(
        "from alembic import op\n"
        "revision, down_revision = '0001', None\n"
        "def upgrade():\n"
        "    op.execute('CREATE TABLE half (a int)')\n"
        "    raise RuntimeError('power cut')\n"
    )
    monkeypatch.setattr(migrate, "MIGRATIONS", tmp_path / "migrations")
    database = open_url(url)

    with pytest.raises(RuntimeError, match="power cut"):
        upgrade(database)

    assert schema_state(database) == "behind"
    with database.migrating() as connection:
        connection.execute(text("CREATE TABLE half (a int)"))


def test_the_state_of_an_unreachable_database_fails(server: PostgreSQL, open_url: Open) -> None:
    with pytest.raises(CheckFailed, match="Database does not exist"):
        schema_state(open_url(server.url("no_such")))

    server.stop()
    with pytest.raises(CheckFailed, match="Database refused the connection"):
        schema_state(open_url(server.url()))


def test_an_exhausted_pool_has_a_message_of_its_own(server: PostgreSQL, open_url: Open) -> None:
    database = open_url(server.url(), database_pool_size=1, database_pool_timeout_seconds=0.1)

    with database.read(), pytest.raises(CheckFailed, match="Database connection pool exhausted"):
        schema_state(database)


def test_the_revisions_are_those_of_alembic() -> None:
    """File names replace Alembic, which is slow to load, so they must be correct."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)

    assert [script.revision for script in scripts.walk_revisions()][::-1] == known_revisions()
    assert scripts.get_heads() == [known_revisions()[-1]]


def test_the_state_is_read_without_loading_alembic(open_url: Open, sqlite_url: str) -> None:
    upgrade(open_url(sqlite_url))
    code = f"""
import sys
from atom_platform.database.engine import open_database
from atom_platform.database.migrate import schema_state, upgrade
from atom_platform.settings import Settings
database = open_database(Settings(database_url={sqlite_url!r}))
print(schema_state(database), upgrade(database), "alembic" in sys.modules)
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["current", "current", "False"]
