"""ECS task definitions are compared with the timings of the service that they start."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from atom_platform.tools.doctor.findings import Finding
from atom_platform.tools.doctor.manifests import check_files
from tests.support.doctor_parts import codes, one

GOOD: dict[str, Any] = {
    "family": "atom-platform",
    "cpu": "1024",
    "memory": "2048",
    "containerDefinitions": [
        {
            "name": "atom-platform",
            "image": "registry.example/atom-platform:1.2.3",
            "readonlyRootFilesystem": True,
            "portMappings": [{"containerPort": 8000}],
            "environment": [{"name": "ATOM_DRAIN_SECONDS", "value": "10"}],
            "secrets": [{"name": "DATABASE_URL", "valueFrom": "arn:aws:secretsmanager:…"}],
            "healthCheck": {
                "command": ["CMD", "python", "-m", "atom_platform", "probe", "live"],
                "interval": 30,
                "timeout": 5,
                "retries": 3,
                "startPeriod": 60,
            },
            "stopTimeout": 60,
            "logConfiguration": {"logDriver": "awslogs"},
        }
    ],
}

#: The guide's own text.
GUIDE = {
    "family": "atom-platform",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "cpu": "1024",
    "memory": "2048",
    "containerDefinitions": [
        {
            "name": "atom-platform",
            "image": "atom-platform:latest",
            "portMappings": [{"containerPort": 8000, "protocol": "tcp"}],
            "environment": [{"name": "DATABASE_URL", "value": "postgresql://..."}],
            "healthCheck": {
                "command": [
                    "CMD-SHELL",
                    "curl -f http://localhost:8000/health/live || exit 1",
                ],
                "interval": 30,
                "timeout": 5,
                "retries": 3,
                "startPeriod": 60,
            },
            "logConfiguration": {"logDriver": "awslogs", "options": {}},
        }
    ],
}


def lint(tmp_path: Path, task: Any) -> list[Finding]:
    path = tmp_path / "task.json"
    path.write_text(json.dumps(task))
    return list(check_files([path]))


def changed(**values: Any) -> dict[str, Any]:
    """Return the good task with its container changed; None takes a key out."""
    task = copy.deepcopy(GOOD)
    container = task["containerDefinitions"][0]
    for key, value in values.items():
        if value is None:
            del container[key]
        else:
            container[key] = value
    return task


def health(**values: Any) -> dict[str, Any]:
    good = GOOD["containerDefinitions"][0]["healthCheck"]
    return changed(healthCheck={k: v for k, v in {**good, **values}.items() if v is not None})


def test_a_good_task_has_no_findings(tmp_path: Path) -> None:
    (finding,) = lint(tmp_path, GOOD)

    assert (finding.severity, finding.code) == ("ok", "all-well")


def test_the_guides_own_task(tmp_path: Path) -> None:
    findings = lint(tmp_path, GUIDE)

    assert codes(findings, "error") == {"grace-short", "drain-missing"}
    assert codes(findings, "warning") == set()


@pytest.mark.parametrize(
    ("task", "severity", "code"),
    [
        (changed(healthCheck=None), "error", "health-missing"),
        (
            health(command=["CMD", "python", "-m", "atom_platform", "probe", "ready"]),
            "error",
            "liveness-asks-dependencies",
        ),
        (changed(stopTimeout=40), "error", "grace-short"),
        (changed(stopTimeout=None), "error", "grace-short"),
        (changed(environment=[]), "error", "drain-missing"),
        (changed(portMappings=[{"containerPort": 80}]), "error", "port-unmapped"),
        (changed(secrets=None), "warning", "sqlite-replicated"),
    ],
)
def test_one_error_is_one_finding(tmp_path: Path, task: Any, severity: str, code: str) -> None:
    findings = lint(tmp_path, task)

    assert codes(findings) == {code}
    assert one(findings, code).severity == severity


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("DATABASE_URL", "postgresql://a:hunter22@db/a", "secret-in-plain-text"),
        ("ATOM_THREADS", "many", "setting-invalid"),
        ("PROMETHEUS_MULTIPROC_DIR", "/metrics", "metrics-volume-missing"),
    ],
)
def test_one_wrong_variable_is_one_finding(
    tmp_path: Path, name: str, value: str, code: str
) -> None:
    good = GOOD["containerDefinitions"][0]["environment"]

    findings = lint(tmp_path, changed(environment=[*good, {"name": name, "value": value}]))

    assert codes(findings) == {code}
    assert "hunter22" not in repr(findings)


def test_the_output_of_aws_ecs_is_read(tmp_path: Path) -> None:
    assert codes(lint(tmp_path, {"taskDefinition": changed(healthCheck=None)})) == {
        "health-missing"
    }


def test_a_cloudformation_stack_is_read(tmp_path: Path) -> None:
    """CloudFormation capitalises every key, and has tags of its own."""
    path = tmp_path / "stack.yaml"
    path.write_text(
        """
Resources:
  Task:
    Type: AWS::ECS::TaskDefinition
    Properties:
      Family: atom-platform
      Memory: "2048"
      ContainerDefinitions:
      - Name: atom-platform
        Image: !Sub "${Registry}/atom-platform:latest"
        LogConfiguration: {LogDriver: awslogs, Options: {awslogs-group: !Ref Group}}
  Group: {Type: AWS::Logs::LogGroup}
"""
    )

    found = codes(check_files([path]))

    assert {"health-missing", "grace-short", "sqlite-replicated"} <= found


ODD = [None, 0, "", "text", [], [1], {}, {"x": None}, True]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_unexpected_shapes_read_as_absent(tmp_path: Path, odd: Any) -> None:
    for key in GOOD["containerDefinitions"][0]:
        lint(tmp_path, changed(**{key: None}) if odd is None else changed(**{key: odd}))
    for key in GOOD["containerDefinitions"][0]["healthCheck"]:
        lint(tmp_path, health(**{key: odd}))
    lint(tmp_path, {"containerDefinitions": odd})
    lint(tmp_path, odd)


class TestFiles:
    def test_unknown_content_is_a_note(self, tmp_path: Path) -> None:
        assert codes(lint(tmp_path, {"services": {}})) == {"file-unknown"}

    @pytest.mark.parametrize(
        ("name", "content", "text"),
        [
            ("a.json", b"{", "It is no JSON"),
            ("a.yaml", b"a: [1,\nb: 2", "It is no YAML"),
            ("a.yaml", b"\xff\xfe", "It is no text in UTF-8"),
            ("a.yaml", b"[" * 100_000, "It is no YAML"),
        ],
    )
    def test_an_unreadable_file_is_an_error(
        self, tmp_path: Path, name: str, content: bytes, text: str
    ) -> None:
        path = tmp_path / name
        path.write_bytes(content)

        (finding,) = check_files([path])

        assert (finding.severity, finding.code) == ("error", "file-unreadable")
        assert finding.what.startswith(text)

    def test_a_missing_file_is_an_error(self, tmp_path: Path) -> None:
        (finding,) = check_files([tmp_path / "gone.yaml"])

        assert finding.what == "It cannot be read: No such file or directory"

    def test_a_directory_stands_for_its_files(self, tmp_path: Path) -> None:
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "task.yaml").write_text(yaml.safe_dump(GOOD))
        (tmp_path / "README.md").write_text("# not examined")

        (finding,) = check_files([tmp_path])

        assert finding.code == "all-well"
