"""Kubernetes objects: probes, grace period and volumes of our container against our timings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from atom_platform.tools.doctor.container import (
    Container,
    at,
    check_grace,
    check_secrets,
    check_settings,
    items,
    mapping,
    number,
    text,
    timings_of,
)
from atom_platform.tools.doctor.findings import Finding, error, note, ok, warning
from atom_platform.tools.doctor.probes import PROBES, check_probes

__all__ = ["check_objects"]

#: Where each kind keeps its pod template.
POD_PATHS: Final = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}

#: These run to an end: nothing probes them, and nothing waits for them to drain.
BATCH: Final = ("Job", "CronJob")

TO_SECRET: Final = "Put it into a Secret and use valueFrom.secretKeyRef."  # noqa: S105 — advice

#: The default of Kubernetes.
GRACE_SECONDS: Final = 30

SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 — a mount point to look for, nothing is written

#: The default of PostgreSQL.
MAX_CONNECTIONS: Final = 100


def check_objects(objects: Sequence[tuple[str, dict[str, Any]]]) -> Iterator[Finding]:
    """Yield the findings for *objects*, each given with the file that holds it."""
    maps = {
        text(at(each, "metadata", "name")): {
            key: text(value) for key, value in mapping(each.get("data")).items()
        }
        for _, each in objects
        if each.get("kind") == "ConfigMap"
    }
    for path, each in objects:
        kind, name = text(each.get("kind")), text(at(each, "metadata", "name"))
        area = f"{path}: {kind}/{name}"
        if kind == "ConfigMap":
            yield from check_secrets(area, maps[name], do=TO_SECRET)
        elif kind in ("ServiceMonitor", "PodMonitor"):
            endpoints = at(each, "spec", "endpoints") or at(each, "spec", "podMetricsEndpoints")
            for endpoint in items(endpoints):
                yield from _check_scrape_path(area, text(endpoint.get("path")))
        elif kind in POD_PATHS:
            yield from _check_workload(area, kind, each, maps)


def _check_workload(
    area: str, kind: str, each: dict[str, Any], maps: dict[str, dict[str, str]]
) -> Iterator[Finding]:
    template = mapping(at(each, *POD_PATHS[kind]) if POD_PATHS[kind] else each)
    pod = mapping(template.get("spec"))
    specs = items(pod.get("containers"))
    if not any(spec.get("image") for spec in specs):
        yield note(area, "object-partial", "A patch without an image: examine the rendered object")
        return
    ours = [spec for spec in specs if _runs_the_service(spec)]
    if not ours:
        yield note(area, "object-foreign", "No container looks like this service")
    for spec in ours:
        environ, names = _environment(spec, maps)
        command = f"{text(spec.get('command'))} {text(spec.get('args'))}"
        container = Container(
            area=f"{area} container {text(spec.get('name'))}",
            owner=pod,
            spec=spec,
            environ=environ,
            timings=timings_of(environ, names=names, command=command),
            replicas=number(at(each, "spec", "replicas"), 1),
            annotations=mapping(at(template, "metadata", "annotations")),
        )
        findings = list(check_settings(container, do=TO_SECRET))
        if kind not in BATCH:
            findings += [finding for rule in RULES for finding in rule(container)]
        yield from findings or [ok(container.area, "all-well", "No errors")]


def _runs_the_service(spec: dict[str, Any]) -> bool:
    words = " ".join(text(spec.get(key)) for key in ("image", "name", "command", "args"))
    paths = [text(at(spec, probe, "httpGet", "path")) for probe in PROBES.values()]
    return (
        any(word in words for word in ("atom", "gunicorn", "wsgi"))
        or any(number(port.get("containerPort"), 0) == 8000 for port in items(spec.get("ports")))
        or any(path.startswith("/health/") for path in paths)
    )


def _environment(
    spec: dict[str, Any], maps: dict[str, dict[str, str]]
) -> tuple[dict[str, str], set[str]]:
    """Return the variables whose values are known, and the names of all."""
    environ: dict[str, str] = {}
    for source in items(spec.get("envFrom")):
        environ |= maps.get(text(at(source, "configMapRef", "name")), {})
    names = set(environ)
    for variable in items(spec.get("env")):
        name = text(variable.get("name"))
        names.add(name)
        reference = mapping(at(variable, "valueFrom", "configMapKeyRef"))
        value = maps.get(text(reference.get("name")), {}).get(text(reference.get("key")))
        if "value" in variable:
            value = text(variable["value"])
        if value is None:
            environ.pop(name, None)
        else:
            environ[name] = value
    # A whole Secret of which only the name is known may hold DATABASE_URL.
    if any("secretRef" in source for source in items(spec.get("envFrom"))):
        names.add("DATABASE_URL")
    return environ, names


def check_stop(container: Container) -> Iterator[Finding]:
    """Yield a grace period that ends before the service has stopped."""
    hook = mapping(at(container.spec, "lifecycle", "preStop"))
    command = text(at(hook, "exec", "command"))
    hook_seconds = number(at(hook, "sleep", "seconds"), 0)
    hook_seconds += sum(map(float, re.findall(r"\bsleep ([0-9.]*[0-9])", command)))
    if "probe drain" in command:  # the drain runs while the hook waits
        hook_seconds = max(hook_seconds - container.timings.settings.drain_seconds, 0)
    yield from check_grace(
        container,
        name="terminationGracePeriodSeconds",
        seconds=number(container.owner.get("terminationGracePeriodSeconds"), GRACE_SECONDS),
        given="terminationGracePeriodSeconds" in container.owner,
        hook_seconds=hook_seconds,
    )


def check_annotations(container: Container) -> Iterator[Finding]:
    """Yield annotations that send Prometheus to a wrong path."""
    if text(container.annotations.get("prometheus.io/scrape")).lower() == "true":
        path = text(container.annotations.get("prometheus.io/path"))
        yield from _check_scrape_path(container.area, path)


def _check_scrape_path(area: str, path: str) -> Iterator[Finding]:
    path = path or "/metrics"
    if path.rstrip("/") != "/health/metrics":
        yield error(
            area,
            "scrape-path",
            f"Prometheus would scrape {path}",
            why="There are no metrics: only the alert for a missing target can fire.",
            do="Set the path /health/metrics.",
        )


def check_metrics_volume(container: Container) -> Iterator[Finding]:
    """Yield a metrics directory that is on a disk, shared, or without a bound."""
    directory = container.environ.get("PROMETHEUS_MULTIPROC_DIR") or SHARED_MEMORY
    volume = _volume_at(container, directory)
    what = f"{directory}, the metrics directory,"
    do = (
        "Mount an emptyDir with medium: Memory and a sizeLimit, and name its path in "
        "PROMETHEUS_MULTIPROC_DIR."
    )
    if volume is None:
        yield warning(
            container.area,
            "metrics-volume-missing",
            f"{what} is not on a mounted volume",
            why="Shared memory has 64 MiB, which a service with many agents fills; any other "
            "directory is on the container's disk.",
            do=do,
        )
    elif "emptyDir" not in volume:
        yield error(
            container.area,
            "metrics-volume-shared",
            f"{what} is on a volume that outlives the pod",
            why="Pods that share it disturb each other; nothing in it is worth keeping.",
            do=do,
        )
    elif at(volume, "emptyDir", "medium") != "Memory":
        yield warning(
            container.area,
            "metrics-volume-on-disk",
            f"{what} is on the node's disk",
            why="Every request counts by writing to it, and waits when the disk does.",
            do=do,
        )
    elif not at(volume, "emptyDir", "sizeLimit"):
        yield note(
            container.area,
            "metrics-volume-unbounded",
            f"{what} has no sizeLimit",
            why="It may take memory up to the pod's limit.",
            do="Set a sizeLimit, such as 64Mi.",
        )


def check_database(container: Container) -> Iterator[Finding]:
    """Yield SQLite where it cannot work, and more connections than PostgreSQL allows."""
    url, settings = container.environ.get("DATABASE_URL", ""), container.timings.settings
    if container.timings.knows_database and not url.startswith("sqlite"):
        wanted = container.replicas * settings.workers * (settings.database_pool_size + 1)
        if wanted > MAX_CONNECTIONS:
            yield warning(
                container.area,
                "connections-many",
                f"Up to {wanted:g} database connections: {container.replicas:g} replicas of "
                f"{settings.workers} workers with {settings.database_pool_size}, and one for the "
                "check",
                why=f"PostgreSQL allows {MAX_CONNECTIONS} by default.",
                do="Reduce the pool, raise max_connections, or put PgBouncer in between.",
            )
        return
    if container.replicas > 1:
        yield error(
            container.area,
            "sqlite-replicated",
            f"{container.replicas:g} replicas, each with an SQLite file of its own",
            why="Which agents exist depends on which pod answers.",
            do="Set DATABASE_URL to a PostgreSQL server, from a Secret.",
        )
    read_only = at(container.spec, "securityContext", "readOnlyRootFilesystem") is True
    path = "/app/var" if not url else url.partition("///")[2].rpartition("/")[0]
    if read_only and _volume_at(container, path) is None:
        yield error(
            container.area,
            "root-read-only",
            f"The root file system is read-only, and nothing is mounted at {path}",
            why="The SQLite database cannot be created: readiness answers 503.",
            do="Mount a volume there, or set DATABASE_URL to a PostgreSQL server.",
        )


def _volume_at(container: Container, path: str) -> dict[str, Any] | None:
    """Return the volume that holds *path*, or None when that is the container's own disk."""
    volumes = {text(volume.get("name")): volume for volume in items(container.owner.get("volumes"))}
    mounts = [
        (text(mount.get("mountPath")).rstrip("/"), text(mount.get("name")))
        for mount in items(container.spec.get("volumeMounts"))
    ]
    fitting = [
        (point, name) for point, name in mounts if f"{path.rstrip('/')}/".startswith(f"{point}/")
    ]
    if not fitting:
        return None
    return volumes.get(max(fitting, key=lambda mount: len(mount[0]))[1])


RULES: Final = (check_probes, check_stop, check_annotations, check_metrics_volume, check_database)
