"""`atom-platform doctor`: its output and its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from atom_platform.cli import main
from atom_platform.tools.doctor import command as doctor
from tests.support.ports import free_port
from tests.support.service import ROOT
from tests.support.stalls import scaled

DEPLOYMENT = """\
apiVersion: v1
kind: Pod
metadata: {name: atom}
spec:
  containers:
  - name: atom
    image: atom-platform:1.0
    env:
    - {name: DATABASE_URL, value: "postgresql://atom:hunter22@db/atom"}
"""


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A private database, and a port without a service."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/atom.db")
    monkeypatch.setenv("ATOM_DISK_MIN_FREE_GB", "0")
    monkeypatch.setenv("PORT", str(free_port()))


def test_no_error_is_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0

    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line and not line.startswith(" ")] == [
        "settings",
        "metrics",
        "database",
        "disk",
        "service",
        "No problem found.",
    ]


def test_an_error_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATOM_DISK_PATH", "/no/such/path")

    assert main(["doctor"]) == 1
    assert "FAIL  /no/such/path cannot be read" in capsys.readouterr().out


def test_json_is_one_object(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "none")

    assert main(["doctor", "--json"]) == 1

    body = json.loads(capsys.readouterr().out)
    assert body["status"] == "error"
    assert "setting-invalid" in {finding["code"] for finding in body["findings"]}


def test_an_invalid_database_url_hides_no_other_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://atom:hunter22@db/atom")

    assert main(["doctor", "--json"]) == 1

    printed = capsys.readouterr().out
    areas = [finding["area"] for finding in json.loads(printed)["findings"]]
    assert "disk" in areas
    assert "database" not in areas
    assert "hunter22" not in printed


def test_with_files_only_files_are_examined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """CI examines manifests without a database."""
    path = tmp_path / "pod.yaml"
    path.write_text(DEPLOYMENT)

    assert main(["doctor", "--json", str(path)]) == 1

    printed = capsys.readouterr().out
    findings = json.loads(printed)["findings"]
    assert {finding["area"] for finding in findings} == {f"{path}: Pod/atom container atom"}
    assert "secret-in-plain-text" in {finding["code"] for finding in findings}
    assert "hunter22" not in printed


def test_a_url_without_a_service_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://atom:hunter22@127.0.0.1:{free_port()}"

    assert main(["doctor", "--url", url]) == 1

    printed = capsys.readouterr().out
    assert "does not answer: Connection refused" in printed
    assert "hunter22" not in printed


@pytest.mark.parametrize("arguments", [["--no-such-flag"], ["--url"]])
def test_a_wrong_command_line_is_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *arguments]) == 2
    assert "Error: " in capsys.readouterr().err


def test_help_names_the_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--help"]) == 0
    assert "exit status is 0 when nothing is wrong" in capsys.readouterr().out


def test_one_failure_hides_no_other_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(settings: object) -> object:
        raise RuntimeError("a defect of the doctor")

    monkeypatch.setattr(doctor, "check_metrics", broken)

    assert main(["doctor", "--json"]) == 1

    findings = json.loads(capsys.readouterr().out)["findings"]
    assert "doctor-failed" in {finding["code"] for finding in findings}
    assert "disk" in {finding["area"] for finding in findings}


def test_an_ascii_terminal_gets_escapes(tmp_path: Path) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(
        "kind: Pod\nmetadata: {name: \u00e4t\u00f6m}\nspec: {containers: [{image: atom}]}\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "atom_platform", "doctor", str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=scaled(60),
    )

    assert (done.returncode, done.stderr) == (1, "")
    assert r"Pod/\xe4t\xf6m" in done.stdout
