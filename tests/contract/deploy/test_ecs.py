"""The ECS files hold the guide's figures, keep secrets out, and ECS's own API takes them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from atom_platform.settings import Settings
from tests.contract.deploy.tools import check, run
from tests.support.service import ROOT

ECS = ROOT / "deploy" / "ecs"
GUNICORN_GRACEFUL_SECONDS = 30
FARGATE_MOST_STOP_SECONDS = 120


def load(name: str) -> Any:
    return json.loads((ECS / name).read_text())


class Template(yaml.SafeLoader):
    """Reads CloudFormation's short forms: `!Ref X` becomes `{"Ref": "X"}`."""


Template.add_multi_constructor(
    "!",
    lambda loader, tag, node: {tag: getattr(node, "value", None)},
)


def resource(name: str) -> Any:
    template = yaml.load((ECS / "cloudformation.yaml").read_text(), Template)
    return template["Resources"][name]["Properties"]


@pytest.fixture(name="task")
def _task() -> Any:
    return load("task-definition.json")


@pytest.fixture(name="container")
def _container(task: Any) -> Any:
    (container,) = task["containerDefinitions"]
    return container


def test_the_guides_task_is_in_it(task: Any, container: Any) -> None:
    for key, value in {
        "family": "atom-platform",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "1024",
        "memory": "2048",
    }.items():
        assert task[key] == value
    assert container["name"] == "atom-platform"
    (mapping,) = container["portMappings"]
    assert (mapping["containerPort"], mapping["protocol"]) == (8000, "tcp")
    options = container["logConfiguration"]["options"]
    assert container["logConfiguration"]["logDriver"] == "awslogs"
    assert options["awslogs-group"] == "/ecs/atom-platform"
    assert options["awslogs-stream-prefix"] == "ecs"


def test_the_health_check_is_the_guides_with_a_deadline(container: Any) -> None:
    """Without a timeout of its own, curl outlives the timeout of ECS and is left behind."""
    health = container["healthCheck"]

    assert {key: health[key] for key in ("interval", "timeout", "retries", "startPeriod")} == {
        "interval": 30,
        "timeout": 5,
        "retries": 3,
        "startPeriod": 60,
    }
    kind, command = health["command"]
    assert kind == "CMD-SHELL"
    assert re.fullmatch(r"curl -f\S* .*http://127\.0\.0\.1:8000/health/live \|\| exit 1", command)
    deadline = re.search(r"--max-time (\d+)", command)
    assert deadline is not None
    assert int(deadline[1]) < health["timeout"]


def test_no_secret_is_in_plain_text(container: Any) -> None:
    assert "DATABASE_URL" in {each["name"] for each in container["secrets"]}
    assert all(
        each["valueFrom"].startswith("arn:aws:secretsmanager:") for each in container["secrets"]
    )
    assert not re.search(r"postgres(ql)?(\+\w+)?://", json.dumps(container))


def test_every_setting_is_one_that_the_service_takes(container: Any) -> None:
    environment = {each["name"]: each["value"] for each in container["environment"]}
    variables = {
        Settings.__dataclass_fields__[name].metadata["variable"]
        for name in Settings.__dataclass_fields__
    }

    assert set(environment) <= variables
    Settings.from_environ(environment)


def test_ecs_waits_for_drain_and_graceful_stop(container: Any) -> None:
    drain = {each["name"]: each["value"] for each in container["environment"]}["ATOM_DRAIN_SECONDS"]

    assert drain == "10"
    assert container["stopTimeout"] >= 10 + GUNICORN_GRACEFUL_SECONDS + 10
    assert container["stopTimeout"] <= FARGATE_MOST_STOP_SECONDS


def test_the_load_balancer_notices_the_drain_before_it_ends() -> None:
    """It asks readiness; two answers of 503 must fit into the 10 s."""
    target = resource("TargetGroup")

    assert target["HealthCheckPath"] == "/health/ready"
    asked = target["HealthCheckIntervalSeconds"] * target["UnhealthyThresholdCount"]
    assert asked <= 10
    assert 0.5 < target["HealthCheckTimeoutSeconds"] < target["HealthCheckIntervalSeconds"]


def test_nothing_is_writable_but_memory(container: Any) -> None:
    environment = {each["name"]: each["value"] for each in container["environment"]}
    places = {each["containerPath"] for each in container["linuxParameters"]["tmpfs"]}

    assert container["readonlyRootFilesystem"] is True
    assert container["user"] == "10001:10001"
    assert environment["PROMETHEUS_MULTIPROC_DIR"] in places
    assert "mountPoints" not in container


def test_ecs_takes_task_and_service(task: Any) -> None:
    service = load("service.json")

    checked = check("ecs.py", given=json.dumps({"task": task, "service": service}))

    assert checked.returncode == 0, checked.stderr
    answer = json.loads(checked.stdout)
    registered = answer["task"]["taskDefinition"]
    assert registered["status"] == "ACTIVE"
    (container,) = registered["containerDefinitions"]
    assert container["healthCheck"] == task["containerDefinitions"][0]["healthCheck"]
    (running,) = answer["services"]["services"]
    assert running["desiredCount"] == 3
    assert running["status"] == "ACTIVE"


def test_a_deployment_that_fails_is_rolled_back() -> None:
    breaker = {"enable": True, "rollback": True}

    assert load("service.json")["deploymentConfiguration"]["deploymentCircuitBreaker"] == breaker
    stacked = resource("Service")["DeploymentConfiguration"]
    assert stacked["DeploymentCircuitBreaker"] == as_cloudformation(breaker)


def test_ecs_takes_the_task_with_the_collector_beside_it(task: Any) -> None:
    """As docs/deployment.md puts the two together."""
    task["containerDefinitions"].append(load("adot-sidecar.json"))

    checked = check("ecs.py", given=json.dumps({"task": task}))

    assert checked.returncode == 0, checked.stderr
    names = [
        each["name"]
        for each in json.loads(checked.stdout)["task"]["taskDefinition"]["containerDefinitions"]
    ]
    assert names == ["atom-platform", "adot-collector"]


def test_the_check_finds_a_misspelt_key(task: Any) -> None:
    task["containerDefinitions"][0]["healthcheck"] = {}

    checked = check("ecs.py", given=json.dumps({"task": task}))

    assert checked.returncode == 1
    assert "healthcheck" in checked.stderr


def test_the_collector_asks_the_service_under_the_rules_job_name() -> None:
    config = yaml.safe_load((ECS / "adot-collector.yaml").read_text())
    (scrape,) = config["receivers"]["prometheus"]["config"]["scrape_configs"]

    assert scrape["job_name"] == "atom-platform"
    assert scrape["metrics_path"] == "/health/metrics"
    assert scrape["static_configs"][0]["targets"] == ["localhost:8000"]
    pipeline = config["service"]["pipelines"]["metrics"]
    for section in ("receivers", "processors", "exporters"):
        assert set(pipeline[section]) <= set(config[section])


def as_cloudformation(value: Any) -> Any:
    """Return *value* with the keys as CloudFormation spells them, but for free-form options."""
    if isinstance(value, dict):
        return {
            key[0].upper() + key[1:]: each if key == "options" else as_cloudformation(each)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [as_cloudformation(each) for each in value]
    return value


def test_the_stack_runs_the_same_container(container: Any) -> None:
    """Written twice, because neither format can include the other."""
    (stacked,) = resource("TaskDefinition")["ContainerDefinitions"]
    differs = {"Image", "Secrets", "LogConfiguration"}

    expected = {k: v for k, v in as_cloudformation(container).items() if k not in differs}
    assert {k: v for k, v in stacked.items() if k not in differs} == expected


def test_cloudformation_would_take_the_stack() -> None:
    linted = run("cfn-lint", "--include-checks", "I", "--", ECS / "cloudformation.yaml")

    assert linted.returncode == 0, linted.stdout


def test_the_stack_makes_a_service_that_reads_its_url_from_the_secret() -> None:
    checked = check("stack.py", given=(ECS / "cloudformation.yaml").read_text())

    assert checked.returncode == 0, checked.stderr
    answer = json.loads(checked.stdout)
    assert answer["status"] == "CREATE_COMPLETE"
    assert answer["service"]["desiredCount"] == 3
    (container,) = answer["task"]["taskDefinition"]["containerDefinitions"]
    assert container["secrets"] == [
        {"name": "DATABASE_URL", "valueFrom": answer["parameters"]["DatabaseSecretArn"]}
    ]
