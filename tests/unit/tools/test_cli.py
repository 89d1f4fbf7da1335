"""The command line: commands that need no running service, and the help of all."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib

import pytest

from atom_platform.cli import COMMANDS, main
from tests.support.ports import free_port
from tests.support.service import ROOT
from tests.support.stalls import scaled


def test_settings_are_shown_without_their_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://atom:hunter2@db/atom")

    assert main(["settings"]) == 0

    shown = capsys.readouterr().out
    assert "DATABASE_URL=postgresql://atom:[redacted]@db/atom" in shown
    assert "ATOM_THREADS=4" in shown
    assert "hunter2" not in shown


def test_an_invalid_setting_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "many")

    assert main(["settings"]) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "atom-platform: WEB_CONCURRENCY must be a whole number from 1 to 1000\n"
    )


def test_an_unknown_command_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sing"]) == 2

    assert "No such command 'sing'" in capsys.readouterr().err


def test_a_failed_migration_is_one_line_without_secrets() -> None:
    address = f"postgresql://scott:tiger@127.0.0.1:{free_port()}/atom"
    done = subprocess.run(
        [sys.executable, "-m", "atom_platform", "migrate"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": address},
        capture_output=True,
        timeout=scaled(60),
        check=False,
    )

    assert done.returncode == 1
    (line,) = (done.stdout + done.stderr).splitlines()
    said = json.loads(line)
    assert (said["event"], said["level"]) == ("database_not_migrated", "CRITICAL")
    assert said["reason"] == "Database refused the connection"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0

    printed = capsys.readouterr().out
    assert printed.startswith(f"Usage: atom-platform {command} ")
    assert "-h, --help" in printed


def test_help_lists_every_command_and_imports_none() -> None:
    code = (
        "import sys; from atom_platform.cli import main; main([]);"
        "print([name for name in sys.modules if name.startswith('atom_platform.')])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    for command, (_, summary) in COMMANDS.items():
        assert re.search(rf"^  {command} +{re.escape(summary)}$", done.stdout, re.MULTILINE)
    assert done.stdout.splitlines()[-1] == "['atom_platform.cli']"


def test_the_module_is_the_console_script() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    done = subprocess.run(
        [sys.executable, "-m", "atom_platform", "sing"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert project["scripts"] == {"atom-platform": "atom_platform.cli:main"}
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: atom-platform [OPTIONS]")


def test_a_missing_package_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.delitem(sys.modules, "atom_platform.tools.top", raising=False)

    assert main(["top", "--once"]) == 2

    assert capsys.readouterr().err == (
        "atom-platform: this needs rich: pip install 'atom-platform[platform]'\n"
    )
