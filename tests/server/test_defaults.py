"""An application of one's own gets the gunicorn settings that the platform's service has."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from gunicorn.config import Config

from atom_platform.__main__ import main


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
