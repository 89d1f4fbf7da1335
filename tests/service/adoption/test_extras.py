"""Without the extras all works that does not need them, and the rest says what it needs."""

from __future__ import annotations

import subprocess

from tests.service.adoption.adopted import python_of_others
from tests.support.service import ROOT
from tests.support.stalls import scaled

ALL_OF_IT = """
import sys
from flask import Flask
from atom_platform import checks
from atom_platform.monitoring import Monitoring

app = Flask("app")
with Monitoring(app) as monitoring:
    for name in ("ready", "live", "startup", "metrics"):
        assert app.test_client().get(f"/health/{name}").status_code == 200, name
extras = {"sqlalchemy", "psycopg", "alembic", "pydantic", "redis", "gunicorn"}
print(sorted(extras & sys.modules.keys()))
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python_of_others(), *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=scaled(100),
        check=False,
    )


def test_the_core_loads_no_extra() -> None:
    done = run("-c", ALL_OF_IT)

    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["[]"]), done.stderr


def test_a_command_of_the_platform_says_what_it_needs() -> None:
    done = run("-m", "atom_platform", "migrate")

    assert done.returncode == 2
    assert done.stderr == (
        "atom-platform: this needs sqlalchemy: pip install 'atom-platform[platform]'\n"
    )
