"""The service's own doctor finds nothing wrong with the files that we ship."""

from __future__ import annotations

import json

import pytest

from atom_platform.cli import main
from tests.support.service import ROOT


@pytest.mark.parametrize(
    ("folder", "container"),
    [
        ("deploy/kubernetes", "Deployment/atom-platform container atom-platform"),
        ("deploy/ecs", "task-definition.json: task atom-platform container atom-platform"),
        ("deploy/ecs", "cloudformation.yaml: task atom-platform container atom-platform"),
    ],
)
def test_the_doctor_has_nothing_to_complain_about(
    folder: str,
    container: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And it has looked at the container, not passed it over."""
    monkeypatch.chdir(ROOT)

    status = main(["doctor", "--json", folder])

    findings = json.loads(capsys.readouterr().out)["findings"]
    assert status == 0
    assert {each["severity"] for each in findings} <= {"ok", "note"}
    assert any(each["area"].endswith(container) for each in findings)
