"""Starting: no setting at all works, a wrong one is told in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.service import ROOT, Service
from tests.support.stalls import scaled


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "eighty"),
        ("DATABASE_URL", "oracle://scott:tiger@db/x"),
        ("DATABASE_URL", "postgresql://scott:tiger@db/x?nonsense=1"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_line(variable: str, value: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "wsgi:app"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], variable: value},
        capture_output=True,
        text=True,
        timeout=scaled(30),
        check=False,
    )

    assert done.returncode != 0
    lines = (done.stdout + done.stderr).strip().splitlines()
    assert len(lines) == 1, lines
    assert variable in lines[0]
    assert "tiger" not in lines[0]


def test_default_database_appears_under_var(
    start_service: Callable[..., Service], tmp_path: Path
) -> None:
    """The working directory decides, so that a container can mount it."""
    service = start_service(
        env={"DATABASE_URL": "", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        args=["-c", str(ROOT / "gunicorn.conf.py")],
    )

    assert service.get("/health/ready").status == 200
    assert (tmp_path / "var" / "atom.db").is_file()


def test_migrations_run_once_however_many_start(
    start_service: Callable[..., Service], tmp_path: Path
) -> None:
    service = start_service(env={"WEB_CONCURRENCY": "6"})

    assert service.get("/health/startup").status == 200
    assert service.get("/api/v1/agents").status == 200
