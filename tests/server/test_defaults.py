"""An application of one's own gets the gunicorn settings that the platform's service has."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from gunicorn.config import Config

from atom_platform.cli import main
from tests.service import ROOT

#: Run in a process of its own: it takes a metrics directory, and raises limits.
COMPARED = """
import runpy
from gunicorn.config import Config
from atom_platform.server import gunicorn_defaults

settings = Config().settings.keys()
ours = {k: v for k, v in runpy.run_path("gunicorn.conf.py").items() if k in settings}
theirs = gunicorn_defaults()
ours.pop("proc_name")
print(sorted(k for k in ours.keys() | theirs.keys() if ours.get(k, "no") != theirs.get(k, "no")))
"""


def test_they_are_those_of_the_service() -> None:
    environment = {"PATH": os.environ["PATH"], "ATOM_THREADS": "3", "WEB_CONCURRENCY": "5"}
    done = subprocess.run(
        [sys.executable, "-c", COMPARED],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )

    assert done.stdout == "[]\n"


def test_what_is_printed_names_each_setting_with_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATOM_THREADS", "7")
    metrics = tmp_path / "metrics"
    metrics.mkdir()
    (metrics / "counter_slot0.db").touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(metrics))

    assert main(["gunicorn-config"]) == 0

    text = capsys.readouterr().out
    listed = [line[2:] for line in text.splitlines() if line.startswith("# ") and " = " in line]
    (tmp_path / "listed.py").write_text("\n".join(line for line in listed if line[0] != " "))
    values = runpy.run_path(str(tmp_path / "listed.py"))
    assert values["threads"] == 7
    assert len(values.keys() & Config().settings.keys()) > 10
    compile(text, "gunicorn.conf.py", "exec")
    assert (metrics / "counter_slot0.db").exists()  # printing takes nothing, and empties nothing


def test_a_wrong_setting_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATOM_THREADS", "many")

    assert main(["gunicorn-config"]) == 2

    assert capsys.readouterr().err.startswith("atom-platform: ATOM_THREADS must be a whole number")
