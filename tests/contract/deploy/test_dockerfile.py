"""The Dockerfile is what hadolint and a reviewer want; what it makes is tested in image/."""

from __future__ import annotations

import re

from tests.contract.deploy.tools import run
from tests.support.service import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_hadolint_has_nothing_to_say() -> None:
    linted = run("hadolint", "Dockerfile")

    assert linted.returncode == 0, linted.stdout


def test_what_it_ignores_has_a_reason() -> None:
    lines = DOCKERFILE.splitlines()

    for number, line in enumerate(lines):
        if line.startswith("# hadolint ignore"):
            assert lines[number - 1].startswith("# "), line


def test_both_stages_start_from_the_base_that_was_asked_for() -> None:
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

    assert stages == ["${PYTHON_IMAGE}", "${PYTHON_IMAGE}"]


def test_nothing_reaches_the_builder_unasked() -> None:
    """A list of what may not would forget something: all is refused first."""
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]

    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert all((ROOT / path).exists() for path in allowed)
    assert allowed == {
        "Dockerfile",
        "requirements.txt",
        "deploy/image/requirements-build.txt",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "gunicorn.conf.py",
        "wsgi.py",
        "atom_platform",
    }


def test_the_process_gets_the_signals() -> None:
    """A shell in between would get SIGTERM and keep it."""
    (command,) = re.findall(r"^CMD (.*)", DOCKERFILE, re.MULTILINE)

    assert command == '["gunicorn", "wsgi:app"]'
    assert "ENTRYPOINT" not in DOCKERFILE
