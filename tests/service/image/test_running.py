"""The image works as the manifests run it: not root, read-only, without a privilege."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.service.image.podman import Container, container, inspect_image, run_once
from tests.support.polling import wait_until
from tests.support.postgres import PostgreSQL
from tests.support.service import ROOT

TASK = json.loads((ROOT / "deploy/ecs/task-definition.json").read_text())
ECS_COMMAND: list[str] = TASK["containerDefinitions"][0]["healthCheck"]["command"]


def ecs_check(made: Container) -> list[str]:
    """Return the command of ECS's health check as ECS runs it, but for the port."""
    kind, command = ECS_COMMAND
    assert kind == "CMD-SHELL"
    assert ":8000/" in command
    return ["/bin/sh", "-c", command.replace(":8000/", f":{made.port}/")]


@pytest.mark.parametrize(
    "path", ["/health/live", "/health/ready", "/health/startup", "/health/metrics"]
)
def test_the_endpoints_answer(service: Container, path: str) -> None:
    service.wait_for(path, 200)


def test_the_api_and_its_pages_answer(service: Container) -> None:
    """What is not Python, templates and pages, is in the image too."""
    for path in ("/api/v1/agents", "/api/v1/skills", "/api/openapi.json", "/api/docs/"):
        assert service.get(path)[0] == 200, path


def test_it_says_which_build_it_is(service: Container, image: str) -> None:
    labels = inspect_image(image)["Labels"]
    families = text_string_to_metric_families(service.get("/health/metrics")[1].decode())

    (info,) = [
        sample for family in families for sample in family.samples if family.name == "app_info"
    ]

    assert info.labels["version"] == labels["org.opencontainers.image.version"]
    assert info.labels["revision"] == labels["org.opencontainers.image.revision"]


def test_requests_are_counted_where_the_manifest_says(service: Container) -> None:
    """And not in a directory that the service had to fall back on."""
    families = text_string_to_metric_families(service.get("/health/metrics")[1].decode())
    errors = [
        s for f in families for s in f.samples if s.name.startswith("metric_errors") and s.value
    ]

    listed = service.execute("ls", "/run/atom-platform/metrics").stdout.split()

    assert errors == []
    assert listed


def test_ecs_finds_it_healthy(service: Container) -> None:
    checked = service.execute(*ecs_check(service))

    assert checked.returncode == 0, checked.stderr


def test_ecs_finds_a_container_without_service_unhealthy(image: str, service: Container) -> None:
    """The same command must be able to fail: for want of curl it would fail always."""
    with container(image, env={}, command=["sleep", "60"]) as idle:
        checked = idle.execute(*ecs_check(idle))

    assert checked.returncode == 1
    assert "curl: (7)" in checked.stderr


@pytest.mark.parametrize("what", ["live", "ready"])
def test_the_images_own_health_check_answers(service: Container, image: str, what: str) -> None:
    _, *command, live = inspect_image(image)["Healthcheck"]["Test"]
    assert live == "live"

    checked = service.execute(*command, what)

    assert (checked.returncode, checked.stdout.strip()) == (0, f"{what}: 200 OK")


def test_no_process_has_a_privilege(service: Container) -> None:
    script = "for each in /proc/[0-9]*; do echo ==; cat $each/status; done 2>/dev/null"
    processes = service.execute("sh", "-c", script).stdout.split("==\n")[1:]

    assert len(processes) >= 3  # the arbiter and two workers
    for process in processes:
        status = dict(re.findall(r"^(\w+):\t(.*)$", process, re.MULTILINE))
        assert status["Uid"].split() == ["10001"] * 4
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"


def test_nothing_can_be_written_but_memory(service: Container) -> None:
    places = "/ /app /app/var /opt/venv /etc /var/tmp /tmp /dev/shm"

    written = service.execute(
        "sh", "-c", f"for each in {places}; do touch $each/x && echo $each; done"
    ).stdout.split()

    assert written == ["/tmp", "/dev/shm"]


def test_it_reaps_what_others_leave_behind(service: Container) -> None:
    """A health check that is cut short leaves its curl to process 1, which is gunicorn."""
    service.execute(
        "sh", "-c", "(sh -c 'exec -a orphan sleep 0.2' || sleep 0.2) & exit 0", detach=True
    )
    states = "cat /proc/[0-9]*/stat 2>/dev/null"

    wait_until(lambda: "(sleep)" not in service.execute("sh", "-c", states).stdout, seconds=10)

    assert " Z " not in service.execute("sh", "-c", states).stdout
    assert service.get("/health/live")[0] == 200


def test_every_line_it_prints_is_json(service: Container) -> None:
    lines = [json.loads(line) for line in service.output().splitlines()]

    assert any(line["event"] == "Starting gunicorn 27.0.1" for line in lines)
    assert [line for line in lines if line["level"] in {"ERROR", "CRITICAL"}] == []


def test_new_pods_wait_for_the_migration(image: str, postgresql: PostgreSQL) -> None:
    """Job and Deployment may be applied together."""
    env = {"DATABASE_URL": postgresql.create_database("unmigrated")}
    with container(image, env=env) as made:
        made.wait_for("/health/live", 200)
        made.wait_for("/health/startup", 503)

        status, output = run_once(image, "python", "-m", "atom_platform", "migrate", env=env)

        assert status == 0, output
        made.wait_for("/health/startup", 200, seconds=10)
        made.wait_for("/health/ready", 200, seconds=10)


def test_a_wrong_password_is_not_told(image: str, postgresql: PostgreSQL) -> None:
    """The Job's log is read by many."""
    url = f"postgresql://nobody:s3cr3t-w0rd@127.0.0.1:{postgresql.port}/nowhere"

    status, output = run_once(
        image, "python", "-m", "atom_platform", "migrate", env={"DATABASE_URL": url}
    )

    assert status != 0
    assert "s3cr3t-w0rd" not in output


@pytest.fixture(name="var")
def _var(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    os.chown(tmp_path, 10001, 10001)
    return tmp_path


def test_the_embedded_database_outlives_the_container(image: str, var: Path) -> None:
    """The image's own defaults: SQLite in /app/var, migrated by the service itself."""
    agent = {"agent_id": "kept", "name": "Kept", "steps": []}
    options = [f"--volume={var}:/app/var"]
    with container(image, env={"DATABASE_URL": ""}, options=options) as made:
        made.wait_for("/health/ready", 200)
        created, answer = made.request("POST", "/api/v1/agents", agent)
        assert created == 201, answer

    with container(image, env={"DATABASE_URL": ""}, options=options) as made:
        made.wait_for("/health/ready", 200)
        status, _ = made.get("/api/v1/agents/kept")

    assert status == 200
