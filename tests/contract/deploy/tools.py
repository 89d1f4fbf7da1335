"""What checks deployment files: the programs in .venv/deploy, and scripts run by its Python."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.service import ROOT
from tests.support.stalls import scaled

__all__ = ["check", "needs_script", "run"]

PROGRAMS = ROOT / ".venv" / "deploy" / "bin"
CHECKS = Path(__file__).parent / "checks"


def needs_script(name: str) -> str:
    """Return the path of program *name*; without it skip, or fail in CI."""
    path = PROGRAMS / name
    if path.exists():
        return str(path)
    reason = f"{name} is missing: `make install-deploy`"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def run(*command: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run one of those programs in the root of the project, and return what came of it."""
    name, *arguments = map(str, command)
    return subprocess.run(
        [needs_script(name), *arguments],
        input=given,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=scaled(110),
        check=False,
    )


def check(script: str, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a script of `checks/`, which may import what only .venv/deploy has."""
    return run("python", CHECKS / script, *arguments, given=given)
