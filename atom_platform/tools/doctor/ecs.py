"""ECS task definitions: health check, port, stop timeout and storage against our timings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
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
from atom_platform.tools.doctor.findings import Finding, ok
from atom_platform.tools.doctor.rules import finding

__all__ = ["check_task_definition", "find_task_definitions"]

#: The default of ECS, in seconds.
STOP_SECONDS = 30


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
            *check_settings(container),
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
    command = text(mapping(container.spec.get("healthCheck")).get("command"))
    if not command:
        yield finding(container.area, "health-missing", "No healthCheck")
    elif "/health/ready" in command or "probe ready" in command or "/health/startup" in command:
        what = "The healthCheck asks for readiness"
        yield finding(container.area, "liveness-asks-dependencies", what)


def _check_port(container: Container) -> Iterator[Finding]:
    port = container.timings.port
    mapped = items(container.spec.get("portMappings"))
    if mapped and port not in [number(each.get("containerPort"), 0) for each in mapped]:
        what = f"Port {port}, where the service listens, is not in portMappings"
        yield finding(container.area, "port-unmapped", what, port=port)


def _check_storage(container: Container) -> Iterator[Finding]:
    tmpfs = items(at(container.spec, "linuxParameters", "tmpfs"))
    mounts = [
        f"{text(each.get('containerPath'))}/"
        for each in (*items(container.spec.get("mountPoints")), *tmpfs)
    ]
    directory = container.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
    if directory and not f"{directory}/".startswith(tuple(mounts)):
        what = f"{directory}, the metrics directory, is not on a mounted volume"
        yield finding(container.area, "metrics-volume-missing", what)
    if container.uses_sqlite:
        what = "Each task has an SQLite file of its own"
        found = finding(container.area, "sqlite-replicated", what)
        yield replace(found, severity="warning")  # how many tasks run is not in the definition
