"""The database metrics on every SQLAlchemy: read versions work in full, others are left alone."""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import QueuePool

from atom_platform.database import _compat_sqlalchemy as compat
from atom_platform.database.engine_check import EngineCheck
from atom_platform.database.instrument import watch_pool

ROOT = next(each for each in Path(__file__).resolve().parents if (each / "wsgi.py").is_file())
ONE = sa.text("SELECT 1")


@pytest.fixture(autouse=True)
def _unproven() -> Iterator[None]:
    """Have each test prove SQLAlchemy anew."""
    compat.is_proven.cache_clear()
    yield
    compat.is_proven.cache_clear()


@pytest.fixture(name="sqlalchemy_20", scope="module")
def _sqlalchemy_20() -> Path:
    """Return a directory with SQLAlchemy 2.0, installed beside the environment's own once."""
    directory = Path(sys.prefix) / "alternatives" / "sqlalchemy-2.0"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory.parent / "sqlalchemy-2.0.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "sqlalchemy").is_dir():
            command = [
                sys.executable,
                "-m",
                "uv",
                "pip",
                "install",
                "-q",
                "--target",
                str(directory),
            ]
            done = subprocess.run([*command, "sqlalchemy~=2.0.0"], capture_output=True, text=True)
            if done.returncode and not os.environ.get("CI"):
                pytest.skip(f"SQLAlchemy 2.0 cannot be installed: {done.stderr.strip()[-200:]}")
            assert done.returncode == 0, done.stderr
    return directory


@pytest.mark.parametrize("area", ["test_instrument.py", "test_engine_check.py"])
def test_the_database_package_works_on_sqlalchemy_20(sqlalchemy_20: Path, area: str) -> None:
    (path,) = ROOT.glob(f"tests/**/database/{area}")
    env = {**os.environ, "PYTHONPATH": f"{sqlalchemy_20}:{ROOT}"}
    version = subprocess.run(
        [sys.executable, "-c", "import sqlalchemy; print(sqlalchemy.__version__)"],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert version.stdout.startswith("2.0.")
    assert done.returncode == 0, done.stdout


def test_the_installed_version_is_proven() -> None:
    assert compat.is_proven()


def test_the_class_of_a_watched_pool_stays() -> None:
    engine = sa.create_engine("sqlite://", poolclass=QueuePool)
    watch_pool(engine)

    assert type(engine.pool) is QueuePool
    engine.dispose()
    assert type(engine.pool) is QueuePool


def test_a_wrapper_of_another_library_stays_in_place() -> None:
    engine = sa.create_engine("sqlite://", poolclass=QueuePool)
    calls: list[str] = []
    theirs = engine.pool.connect

    def connect() -> sa.PoolProxiedConnection:
        calls.append("theirs")
        return theirs()

    engine.pool.connect = connect  # type: ignore[method-assign]  # as other libraries do
    watch_pool(engine)
    engine.connect().close()

    assert calls == ["theirs"]
    engine.dispose()


@pytest.mark.parametrize(
    ("version", "missing", "reason"),
    [
        ("2.2.0", None, "read on 2.0 and 2.1 only"),
        ("1.4.54", None, "read on 2.0 and 2.1 only"),
        ("2.1.99", "_max_overflow", "the dry run raised AttributeError"),
        ("2.1.99", "checkedout", "a thread that waits for a connection is not seen"),
    ],
)
def test_an_unproven_version_is_left_alone_and_named_once(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    version: str,
    missing: str | None,
    reason: str,
) -> None:
    def absent(_pool: QueuePool) -> int:
        raise AttributeError

    monkeypatch.setattr(sa, "__version__", version)
    if missing == "_max_overflow":
        monkeypatch.setattr(QueuePool, missing, property(absent, lambda *_: None), raising=False)
    elif missing:
        monkeypatch.setattr(QueuePool, missing, absent)
    engine = sa.create_engine("sqlite://", poolclass=QueuePool)

    with caplog.at_level(logging.WARNING, "atom_platform.database"):
        watch_pool(engine)
        watch_pool(engine)
        limit = compat.limit_of(engine.pool)  # type: ignore[arg-type]  # a QueuePool

    assert [
        (record.message, getattr(record, "version", ""), getattr(record, "reason", ""))
        for record in caplog.records
    ] == [("sqlalchemy_version_unproven", version, reason)]
    assert limit == 0
    assert "connect" not in vars(engine.pool)


def test_an_unproven_version_serves_the_application_and_its_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sa, "__version__", "3.0.0")
    engine = sa.create_engine(f"sqlite:///{tmp_path}/shop.db", poolclass=QueuePool, pool_size=1)
    watch_pool(engine)
    check = EngineCheck(engine)

    with engine.connect() as connection:
        one = connection.execute(ONE).scalar()
        result = check()

    assert (one, result.healthy) == (1, True)
    check.close()
    engine.dispose()


def test_a_defect_of_the_gauges_does_not_reach_the_application(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**_: int) -> None:
        raise RuntimeError("no metrics")

    monkeypatch.setattr("atom_platform.database.instrument.set_db_pool", broken)
    monkeypatch.setattr("atom_platform.database.instrument._failed", False)
    engine = sa.create_engine("sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=0)
    watch_pool(engine)

    for _ in range(3):
        with engine.connect() as connection:
            assert connection.execute(ONE).scalar() == 1

    assert [record.message for record in caplog.records] == ["database_pool_metrics_failed"]
    engine.dispose()


def test_the_proof_opens_no_connection_that_a_listener_sees() -> None:
    seen: list[object] = []

    def connected(*connection: object) -> None:
        seen.append(connection)

    sa.event.listen(sa.Engine, "connect", connected)
    try:
        assert compat.is_proven()
    finally:
        sa.event.remove(sa.Engine, "connect", connected)

    assert seen == []


def test_a_pool_without_the_attribute_has_no_known_limit() -> None:
    engine = sa.create_engine("sqlite://", poolclass=QueuePool)
    del engine.pool._max_overflow  # type: ignore[attr-defined]  # as in a subclass of its own

    assert compat.limit_of(engine.pool) == 0  # type: ignore[arg-type]  # a QueuePool
