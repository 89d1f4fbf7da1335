"""ECS task definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from atom_platform.tools.doctor.finding import Finding, note, ok, trouble, warning
from atom_platform.tools.doctor.lint.figures import figures_of
from atom_platform.tools.doctor.lint.healthcheck import Subject, check_health
from atom_platform.tools.doctor.lint.image import check_image
from atom_platform.tools.doctor.lint.secrets import COMMAND_LINE, check_plain_text
from atom_platform.tools.doctor.lint.shape import at, items, mapping, number, text

__all__ = ["check_task_definition", "find_task_definitions"]

#: What ECS takes for stopTimeout, and the most that Fargate allows.
STOP_SECONDS = 30
MOST_STOP_SECONDS = 120


def find_task_definitions(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the task definitions in *document*: its own, one as `aws ecs` prints it, a stack's."""
    candidates = [document, mapping(document.get("taskDefinition"))]
    for resource in mapping(document.get("Resources")).values():
        if mapping(resource).get("Type") == "AWS::ECS::TaskDefinition":
            candidates.append(mapping(_as_json_has_it(mapping(resource).get("Properties"))))
    return [candidate for candidate in candidates if "containerDefinitions" in candidate]


def _as_json_has_it(value: Any) -> Any:
    """CloudFormation writes every key with a capital."""
    if isinstance(value, dict):
        return {
            f"{key[:1].lower()}{key[1:]}": _as_json_has_it(each)
            for key, each in value.items()
            if isinstance(key, str)
        }
    return [_as_json_has_it(each) for each in value] if isinstance(value, list) else value


def check_task_definition(path: str, task: dict[str, Any]) -> Iterator[Finding]:
    """Yield what is to be said about *task*, which the file *path* defines."""
    containers = items(task.get("containerDefinitions"))
    ours = [
        container
        for container in containers
        if len(containers) == 1
        or "atom" in f"{text(container.get('image'))} {text(container.get('name'))}"
    ]
    for container in ours:
        environ = {
            text(each.get("name")): text(each.get("value"))
            for each in items(container.get("environment"))
        }
        secrets = {text(each.get("name")) for each in items(container.get("secrets"))}
        command = f"{text(container.get('entryPoint'))} {text(container.get('command'))}"
        subject = Subject(
            area=f"{path}: task {text(task.get('family'))} container {text(container.get('name'))}",
            task=task,
            container=container,
            environ=environ,
            figures=figures_of(environ, names={*environ, *secrets}, command=command),
        )
        findings = [finding for rule in RULES for finding in rule(subject)]
        yield from findings or [ok(subject.area, "all-well", "Nothing to complain about")]


def check_settings(subject: Subject) -> Iterator[Finding]:
    """Yield settings that the service would not take, and secrets that are written out."""
    for error in subject.figures.errors:
        yield trouble(
            subject.area,
            "setting-invalid",
            str(error),
            why="The service does not start with it.",
            do="Correct the variable, or remove it for the default.",
        )
    do = "Move it from `environment` to `secrets` (Secrets Manager or Parameter Store)."
    command = (
        f"{text(subject.container.get('entryPoint'))} {text(subject.container.get('command'))}"
    )
    yield from check_plain_text(
        subject.area,
        {**subject.environ, COMMAND_LINE: command},
        where="the task definition",
        do=do,
    )


def check_container(subject: Subject) -> Iterator[Finding]:
    """Yield what is to be said about image, ports, resources and log."""
    yield from check_image(subject.area, text(subject.container.get("image")))
    ports = [
        number(each.get("containerPort"), 0)
        for each in items(subject.container.get("portMappings"))
    ]
    if ports and subject.figures.port not in ports:
        yield trouble(
            subject.area,
            "port-unmapped",
            f"Port {subject.figures.port}, where the service listens, is not in portMappings",
            why="Nobody outside of the task reaches it.",
            do=f"Map containerPort {subject.figures.port}, or set PORT.",
        )
    if not (subject.task.get("memory") or subject.container.get("memory")):
        yield warning(
            subject.area,
            "resources-missing",
            "No memory limit, neither of the task nor of the container",
            why="The service can take the whole instance with it.",
            do="Set memory and cpu of the task.",
        )
    if not subject.container.get("logConfiguration"):
        yield warning(
            subject.area,
            "log-missing",
            "No logConfiguration",
            why="On Fargate the log is lost.",
            do="Use awslogs or FireLens.",
        )


def check_stop(subject: Subject) -> Iterator[Finding]:
    """Yield a stopTimeout that is over before the service is."""
    figures = subject.figures
    given = "stopTimeout" in subject.container
    stop = number(subject.container.get("stopTimeout"), STOP_SECONDS)
    if stop <= figures.stop_seconds:
        yield trouble(
            subject.area,
            "grace-short",
            f"stopTimeout is {stop:g}{'' if given else ' (the default)'}; stopping may take "
            f"{figures.stop_seconds:g} s: drain {figures.settings.drain_seconds:g}, "
            f"graceful_timeout {figures.graceful_seconds:g}",
            why="The task is killed in the middle of requests.",
            do=f"Set stopTimeout: {min(MOST_STOP_SECONDS, int(figures.stop_seconds) + 5)}.",
        )
    if not figures.settings.drain_seconds:
        yield trouble(
            subject.area,
            "drain-missing",
            "The service stops listening the moment it is told to stop",
            why="The load balancer goes on sending requests for a moment: they are refused.",
            do="Set ATOM_DRAIN_SECONDS to 10 in `environment`.",
        )


def check_storage(subject: Subject) -> Iterator[Finding]:
    """Yield places that the service writes to and cannot, or that hold what must last."""
    mounts = [
        text(each.get("containerPath")) for each in items(subject.container.get("mountPoints"))
    ]
    mounts += [
        text(each.get("containerPath"))
        for each in items(at(subject.container, "linuxParameters", "tmpfs"))
    ]
    directory = subject.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
    if directory and not any(f"{directory}/".startswith(f"{mount}/") for mount in mounts if mount):
        yield warning(
            subject.area,
            "metrics-volume-missing",
            f"{directory}, the metrics directory, is no mounted volume",
            why="Counting writes to the container's disk, which readonlyRootFilesystem forbids.",
            do="Leave PROMETHEUS_MULTIPROC_DIR out: /dev/shm is used, or mount a volume there.",
        )
    url = subject.environ.get("DATABASE_URL", "")
    if not subject.figures.knows_database or url.startswith("sqlite"):
        yield warning(
            subject.area,
            "sqlite-replicated",
            "Each task has an SQLite file of its own",
            why="It is gone with the task, and two tasks know different agents.",
            do="Set DATABASE_URL to a PostgreSQL server, in `secrets`.",
        )
    if subject.container.get("readonlyRootFilesystem") is not True:
        yield note(
            subject.area,
            "rights-wide",
            "No readonlyRootFilesystem",
            why="Whoever breaks in can change what runs.",
            do="Set it: the image is made for it.",
        )


RULES = (check_settings, check_container, check_health, check_stop, check_storage)
