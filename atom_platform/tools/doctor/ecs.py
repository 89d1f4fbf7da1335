"""ECS task definitions: health check, port, stop timeout and storage against our timings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from atom_platform.tools.doctor.container import (
    Container,
    at,
    check_grace,
    check_settings,
    items,
    mapping,
    number,
    text,
    timings_of,
)
from atom_platform.tools.doctor.findings import Finding, error, ok, warning

__all__ = ["check_task_definition", "find_task_definitions"]

#: The default of ECS, in seconds.
STOP_SECONDS = 30

TO_SECRETS = "Move it from `environment` to `secrets`."


def find_task_definitions(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the task definitions in *document*: itself, `aws ecs` output, a stack's resources."""
    candidates = [document, mapping(document.get("taskDefinition"))]
    for resource in mapping(document.get("Resources")).values():
        if mapping(resource).get("Type") == "AWS::ECS::TaskDefinition":
            candidates.append(mapping(_with_small_initials(mapping(resource).get("Properties"))))
    return [candidate for candidate in candidates if "containerDefinitions" in candidate]


def _with_small_initials(value: Any) -> Any:
    """Return *value* with the keys of the ECS API; CloudFormation capitalises each."""
    if isinstance(value, dict):
        return {
            f"{key[:1].lower()}{key[1:]}": _with_small_initials(each)
            for key, each in value.items()
            if isinstance(key, str)
        }
    return [_with_small_initials(each) for each in value] if isinstance(value, list) else value


def check_task_definition(path: str, task: dict[str, Any]) -> Iterator[Finding]:
    """Yield the findings for *task*, which the file *path* defines."""
    containers = items(task.get("containerDefinitions"))
    for spec in containers:
        if len(containers) > 1 and "atom" not in f"{text(spec.get('image'))} {spec.get('name')}":
            continue
        environ = {
            text(each.get("name")): text(each.get("value"))
            for each in items(spec.get("environment"))
        }
        secrets = {text(each.get("name")) for each in items(spec.get("secrets"))}
        command = f"{text(spec.get('entryPoint'))} {text(spec.get('command'))}"
        container = Container(
            area=f"{path}: task {text(task.get('family'))} container {text(spec.get('name'))}",
            owner=task,
            spec=spec,
            environ=environ,
            timings=timings_of(environ, names={*environ, *secrets}, command=command),
        )
        findings = [
            *check_settings(container, do=TO_SECRETS),
            *_check_health(container),
            *_check_port(container),
            *check_grace(
                container,
                name="stopTimeout",
                seconds=number(spec.get("stopTimeout"), STOP_SECONDS),
                given="stopTimeout" in spec,
            ),
            *_check_storage(container),
        ]
        yield from findings or [ok(container.area, "all-well", "No errors")]


def _check_health(container: Container) -> Iterator[Finding]:
    health = mapping(container.spec.get("healthCheck"))
    command = text(health.get("command"))
    if not command:
        yield error(
            container.area,
            "health-missing",
            "No healthCheck",
            why="ECS ignores the image's own: a worker that hangs is never replaced.",
            do="Use the command CMD, python, -m, atom_platform, probe, live.",
        )
        return
    if "/health/ready" in command or "probe ready" in command or "/health/startup" in command:
        yield error(
            container.area,
            "liveness-asks-dependencies",
            "The healthCheck asks for readiness",
            why="When the database is down, ECS replaces every task.",
            do="Ask /health/live here, and /health/ready in the load balancer's target group.",
        )
    if not number(health.get("startPeriod"), 0):
        yield warning(
            container.area,
            "start-period-missing",
            "healthCheck without startPeriod",
            why="Failures count from the first second: a slow start is killed again and again.",
            do="Set startPeriod: 60.",
        )


def _check_port(container: Container) -> Iterator[Finding]:
    port = container.timings.port
    ports = [
        number(each.get("containerPort"), 0) for each in items(container.spec.get("portMappings"))
    ]
    if ports and port not in ports:
        yield error(
            container.area,
            "port-unmapped",
            f"Port {port}, where the service listens, is not in portMappings",
            why="No client outside of the task reaches it.",
            do=f"Map containerPort {port}, or set PORT.",
        )


def _check_storage(container: Container) -> Iterator[Finding]:
    mounts = [
        text(each.get("containerPath"))
        for each in (
            *items(container.spec.get("mountPoints")),
            *items(at(container.spec, "linuxParameters", "tmpfs")),
        )
    ]
    directory = container.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
    if directory and not any(f"{directory}/".startswith(f"{mount}/") for mount in mounts if mount):
        yield warning(
            container.area,
            "metrics-volume-missing",
            f"{directory}, the metrics directory, is not on a mounted volume",
            why="Counting writes to the container's disk, which readonlyRootFilesystem forbids.",
            do="Leave PROMETHEUS_MULTIPROC_DIR out: /dev/shm is used; or mount a volume there.",
        )
    url = container.environ.get("DATABASE_URL", "")
    if not container.timings.knows_database or url.startswith("sqlite"):
        yield warning(
            container.area,
            "sqlite-replicated",
            "Each task has an SQLite file of its own",
            why="The file goes with its task, and two tasks know different agents.",
            do="Set DATABASE_URL to a PostgreSQL server, in `secrets`.",
        )
