"""The operator gets the rules that Prometheus gets."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.kubernetes.render import PROMETHEUS_RULE, render_prometheus_rule
from tests.support.programs import needs
from tests.support.service import ROOT
from tests.support.stalls import scaled

RULES = ROOT / "deploy" / "prometheus" / "rules"


def rule_files() -> dict[Path, str]:
    return {path: path.read_text() for path in sorted(RULES.glob("*.yaml"))}


def test_the_object_is_current() -> None:
    """`make rules` renews it."""
    ((path, text),) = render_prometheus_rule(rule_files()).items()

    assert path == PROMETHEUS_RULE
    assert path.read_text() == text


def test_the_object_has_every_group_of_every_file_and_no_other() -> None:
    groups = [group for text in rule_files().values() for group in yaml.safe_load(text)["groups"]]

    assert groups
    assert yaml.safe_load(PROMETHEUS_RULE.read_text())["spec"]["groups"] == groups


def test_prometheus_takes_what_the_operator_would_hand_it(tmp_path: Path) -> None:
    promtool = needs("promtool", package="prometheus")
    spec = tmp_path / "rules.yaml"
    spec.write_text(yaml.safe_dump(yaml.safe_load(PROMETHEUS_RULE.read_text())["spec"]))

    checked = subprocess.run(
        [promtool, "check", "rules", str(spec)], capture_output=True, text=True, timeout=scaled(60)
    )

    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("text", ["groups:\n", "# a rule file\nname: x\ngroups:\n  - name: a\n"])
def test_a_file_that_is_more_than_groups_is_refused(text: str) -> None:
    """It would lose what is not in a group, and nobody would notice."""
    with pytest.raises(ValueError, match="nothing but groups"):
        render_prometheus_rule({Path("odd.yaml"): text})
