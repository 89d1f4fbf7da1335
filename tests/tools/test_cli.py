"""`python -m atom_platform`: the commands that need nothing running."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from atom_platform.cli import main
from tests.polling import free_port
from tests.service import ROOT


def test_settings_are_shown_without_their_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://atom:hunter2@db/atom")

    assert main(["settings"]) == 0

    shown = capsys.readouterr().out
    assert "DATABASE_URL=postgresql://atom:[redacted]@db/atom" in shown
    assert "ATOM_THREADS=4" in shown
    assert "hunter2" not in shown


def test_a_wrong_setting_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "many")

    assert main(["settings"]) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "atom-platform: WEB_CONCURRENCY must be a whole number from 1 to 1000\n"
    )


def test_an_unknown_command_gets_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sing"]) == 2

    assert "No such command 'sing'" in capsys.readouterr().err


def test_a_migration_that_fails_is_one_line_without_secrets() -> None:
    address = f"postgresql://scott:tiger@127.0.0.1:{free_port()}/atom"
    done = subprocess.run(
        [sys.executable, "-m", "atom_platform", "migrate"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": address},
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    (line,) = (done.stdout + done.stderr).splitlines()
    said = json.loads(line)
    assert (said["event"], said["level"]) == ("database_not_migrated", "CRITICAL")
    assert said["reason"] == "Database refused the connection"
