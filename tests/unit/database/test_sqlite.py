"""SQLite: several workers write one file, and every fault of the file is detected."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, exc, text

from atom_platform.database.engine import Database
from atom_platform.database.migrate import upgrade
from atom_platform.database.pool import DatabasePool
from atom_platform.database.sqlite import path_of
from atom_platform.health.check import CheckFailed
from tests.support.forked import in_child
from tests.support.stalls import scaled

Open = Callable[..., Database]

ADD = text("INSERT INTO counted SELECT count(*) FROM counted")


@pytest.fixture
def database(open_url: Open, sqlite_url: str) -> Database:
    database = open_url(sqlite_url, database_check_timeout_seconds=1.0)
    upgrade(database)
    with database.write() as connection:
        connection.execute(text("CREATE TABLE counted (n int)"))
    return database


@pytest.fixture
def file(database: Database, sqlite_url: str) -> Path:
    path = path_of(sqlite_url)
    assert path is not None
    return path


def add(connection: Connection) -> None:
    """Read, then write: a transaction that fails at once when another writer was faster."""
    connection.execute(text("SELECT count(*) FROM counted")).scalar()
    connection.execute(ADD)


def count(database: Database) -> int:
    query = text("SELECT count(*) FROM counted")
    return int(database.run(lambda c: c.execute(query).scalar_one(), read_only=True))


def sentence(database: Database) -> str:
    with pytest.raises(CheckFailed) as caught:
        database.ping()
    return str(caught.value)


def outcome(database: Database) -> str:
    """Return the message of the failed ping, or an empty text after an answer."""
    try:
        database.ping()
    except CheckFailed as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///var/atom.db", Path.cwd() / "var/atom.db"),
        ("sqlite:////srv/a%20b.db", Path("/srv/a b.db")),
        ("sqlite+pysqlite:////srv/a.db", Path("/srv/a.db")),
        ("sqlite:///:memory:", None),
    ],
)
def test_the_path_of_a_url(url: str, path: Path | None) -> None:
    assert path_of(url) == path


def test_a_file_name_with_characters_of_a_uri(open_url: Open, tmp_path: Path) -> None:
    database = open_url(f"sqlite:///{tmp_path}/a%3Fmode=memory%23b.db")

    upgrade(database)

    assert [each.name for each in tmp_path.glob("*.db")] == ["a?mode=memory#b.db"]
    database.ping()


def test_processes_that_write_at_once_never_find_it_locked(
    database: Database, sqlite_url: str
) -> None:
    """Three processes of four threads, each reading before it writes, as an ORM would."""
    code = f"""
import sys
from concurrent.futures import ThreadPoolExecutor
from atom_platform.database.engine import open_database
from atom_platform.settings import Settings
from tests.unit.database.test_sqlite import add
database = open_database(Settings(database_url={sqlite_url!r}))
with ThreadPoolExecutor(4) as threads:
    for each in [threads.submit(database.run, add) for _ in range(50)]:
        each.result()
"""
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]

    assert [process.wait(scaled(60)) for process in processes] == [0] * 3
    assert count(database) == 150


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    with database.write() as writing:
        writing.execute(ADD)
        start = time.monotonic()

        assert count(database) == 0

    assert time.monotonic() - start < scaled(2)
    assert count(database) == 1


def test_a_writer_does_not_wait_for_readers(open_url: Open, database: Database) -> None:
    database.run(add)
    with database.read() as reading:
        driver = reading.connection.driver_connection
        assert driver is not None
        half_read = driver.execute("SELECT name FROM sqlite_master")
        half_read.fetchone()
        start = time.monotonic()

        database.run(add)

        assert time.monotonic() - start < scaled(5)
        half_read.close()


def test_a_failed_write_is_rolled_back(database: Database) -> None:
    def half(connection: Connection) -> None:
        connection.execute(ADD)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        database.run(half)

    assert count(database) == 0


def test_a_migration_is_all_or_nothing(database: Database) -> None:
    """SQLite rolls back a CREATE TABLE too, in a real transaction."""

    def half() -> None:
        with database.migrating() as connection:
            connection.execute(text("CREATE TABLE half (n int)"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()

    with database.read() as connection:
        tables = connection.execute(text("SELECT name FROM sqlite_master")).scalars().all()
    assert "half" not in tables


def test_an_overdue_query_is_interrupted(
    open_url: Open, database: Database, sqlite_url: str
) -> None:
    hurried = open_url(sqlite_url, database_query_timeout_seconds=0.3)
    endless = text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    )
    start = time.monotonic()

    with pytest.raises(exc.OperationalError, match="interrupted"):
        hurried.run(lambda connection: connection.execute(endless).scalar(), read_only=True)

    assert time.monotonic() - start < scaled(3)
    assert count(hurried) == 0


def test_a_long_wait_for_the_lock_ends(open_url: Open, database: Database, sqlite_url: str) -> None:
    hurried = open_url(sqlite_url, database_query_timeout_seconds=0.3)

    with database.write(), pytest.raises(exc.OperationalError, match="locked"):
        hurried.run(add)


def test_foreign_keys_are_enforced(database: Database) -> None:
    with database.read() as connection:
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1


def test_memory_is_one_database(open_url: Open) -> None:
    database = open_url("sqlite:///:memory:")
    upgrade(database)
    database._on_ping(False)
    database._on_ping(True)  # on a file or a server this repairs the pool

    with ThreadPoolExecutor(4) as threads:
        tables = text("SELECT count(*) FROM agents")
        found = list(
            threads.map(lambda _: database.run(lambda c: c.execute(tables).scalar()), range(8))
        )

    assert found == [0] * 8
    database.ping()


def test_a_child_has_connections_of_its_own(database: Database) -> None:
    database.ping()
    assert count(database) == 0

    def child() -> int:
        database.ping()
        database.run(add)
        found = count(database)
        database.dispose()
        return found

    assert in_child(child) == 1
    assert count(database) == 1
    database.ping()


def test_the_ping_detects_a_deleted_file(database: Database, file: Path) -> None:
    """`SELECT 1` works on it, and so does every query on an open connection."""
    database.ping()
    for each in file.parent.iterdir():
        each.unlink()

    assert sentence(database) == "Database file not accessible"
    assert not file.exists()  # an empty file in its place would look healthy

    upgrade(database)
    database.ping()


def test_work_after_a_deletion_goes_to_the_new_file(database: Database, file: Path) -> None:
    database.ping()
    count(database)
    for each in file.parent.iterdir():
        each.unlink()
    sentence(database)

    upgrade(database)
    database.ping()

    with pytest.raises(exc.OperationalError, match="no such table: counted"):
        count(database)


def test_the_ping_detects_a_replaced_file(database: Database, file: Path, tmp_path: Path) -> None:
    """As a restored backup does: there is a file, but all connections are to the old one."""
    database.ping()
    assert count(database) == 0
    backup = tmp_path / "backup.db"
    with sqlite3.connect(file) as source, sqlite3.connect(backup) as target:
        source.backup(target)
        target.execute("INSERT INTO counted VALUES (1)")
        target.commit()
    source.close()
    target.close()
    for each in file.parent.glob("atom.db-*"):
        each.unlink()
    backup.replace(file)

    database.ping()

    assert count(database) == 1


def test_the_ping_detects_a_file_replaced_by_garbage(
    database: Database, file: Path, tmp_path: Path
) -> None:
    database.ping()
    (tmp_path / "rubbish").write_bytes(b"not a database" * 100)
    for each in file.parent.glob("atom.db-*"):
        each.unlink()  # otherwise the log, which has every page, would restore it
    (tmp_path / "rubbish").replace(file)

    assert sentence(database) == "Database file damaged"


def test_the_ping_detects_a_missing_directory(open_url: Open, tmp_path: Path) -> None:
    database = open_url(f"sqlite:///{tmp_path}/no/such/atom.db")

    assert sentence(database) == "Database file not accessible"
    assert not (tmp_path / "no").exists()


def test_the_ping_detects_a_file_that_is_no_database(open_url: Open, tmp_path: Path) -> None:
    (tmp_path / "atom.db").write_bytes(b"not a database" * 100)

    assert sentence(open_url(f"sqlite:///{tmp_path}/atom.db")) == "Database file damaged"


def test_the_ping_detects_a_directory_in_place_of_the_file(open_url: Open, tmp_path: Path) -> None:
    (tmp_path / "atom.db").mkdir()

    assert sentence(open_url(f"sqlite:///{tmp_path}/atom.db")) == "Database file not accessible"


def test_the_ping_detects_a_file_without_write_permission(database: Database, file: Path) -> None:
    """Permissions do not stop root, so an unprivileged child asks."""
    file.chmod(0o444)
    for each in (file, *file.parents):
        if each.stat().st_uid == os.geteuid():
            each.chmod(each.stat().st_mode | 0o555)

    def child() -> str:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        return sentence(database)

    assert in_child(child) == "Database file not accessible"


def test_the_ping_detects_a_locked_file(database: Database, file: Path) -> None:
    """A writer does not block readers; only a connection in exclusive mode does."""
    database.dispose()
    thief = sqlite3.connect(file, isolation_level=None)
    try:
        thief.execute("PRAGMA locking_mode = EXCLUSIVE")
        thief.execute("BEGIN EXCLUSIVE")

        assert sentence(database) == "Database is locked"
    finally:
        thief.close()
    database.ping()


def test_a_failed_repair_of_the_pool_does_not_fail_the_ping(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no more threads")

    count(database)
    monkeypatch.setattr(DatabasePool, "abandon_hung", fail)
    database._on_ping(False)

    database.ping()


def test_a_cancelled_ping_works_again(database: Database) -> None:
    database.ping.cancel()
    database.ping()
    stop = threading.Event()

    def cancel() -> None:
        while not stop.is_set():
            database.ping.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    try:
        said = {outcome(database) for _ in range(200)}
    finally:
        stop.set()
        canceller.join()

    assert said <= {"", "Database timeout after 1.0s"}
    database.ping()
