"""Kubernetes objects: probes, grace period and volumes of our container against our timings."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from atom_platform.tools.doctor.container import (
    ANSWER_SECONDS,
    DETECTION_SECONDS,
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
from atom_platform.tools.doctor.findings import Finding, ok
from atom_platform.tools.doctor.rules import finding

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

PROBES: Final = {
    "liveness": "livenessProbe",
    "readiness": "readinessProbe",
    "startup": "startupProbe",
}

#: (probe, what it asks): code.
WRONG_PATHS: Final = {
    ("liveness", "ready"): "liveness-asks-dependencies",
    ("liveness", "startup"): "liveness-asks-dependencies",
    ("readiness", "live"): "readiness-asks-nothing",
    ("startup", "ready"): "startup-asks-dependencies",
}

#: The default of Kubernetes.
GRACE_SECONDS: Final = 30

SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 — a mount point to look for, nothing is written

#: The service stops its checks when readiness is not asked for this long.
REST_SECONDS: Final = 60

#: A probe that is a command starts a Python process, on whatever CPU share there is.
COMMAND_SECONDS: Final = 5

#: Longest that a pod should get traffic that it cannot serve.
DETECT_WITHIN_SECONDS: Final = 60


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
            yield from check_secrets(area, maps[name])
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
        yield finding(area, "object-partial", "A patch without an image")
        return
    ours = [spec for spec in specs if _runs_the_service(spec)]
    if not ours:
        yield finding(area, "object-foreign", "No container looks like this service")
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
        findings = list(check_settings(container))
        if kind not in BATCH:
            findings += [found for check in CHECKS for found in check(container)]
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


def check_probes(container: Container) -> Iterator[Finding]:
    """Yield probes that ask a wrong path or port, or wait too short or too long."""
    area, timings = container.area, container.timings
    named = {
        text(port.get("name")): number(port.get("containerPort"), 0)
        for port in items(container.spec.get("ports"))
    }
    for name, key in PROBES.items():
        probe = mapping(container.spec.get(key))
        if code := WRONG_PATHS.get((name, _asks(probe))):
            yield finding(area, code, f"{key} asks /health/{_asks(probe)}")
        port = at(probe, "httpGet", "port")
        listened = number(port, named.get(text(port), -1)) in timings.probe_ports
        if port is not None and not listened:
            what = f"{key} asks port {port}; the service listens on {timings.port}"
            yield finding(area, "probe-port", what, port=timings.port)
        if probe:
            yield from _check_timeout(area, name, probe)
    yield from _check_detection(container)


def _asks(probe: dict[str, Any]) -> str:
    """Return `live`, `ready` or `startup`; empty when the probe asks something else."""
    path = text(at(probe, "httpGet", "path")).partition("?")[0].rstrip("/")
    command = text(at(probe, "exec", "command"))
    for name in ("live", "ready", "startup"):
        if path == f"/health/{name}" or f"/health/{name}" in command or f"probe {name}" in command:
            return name
    return ""


def _check_timeout(area: str, name: str, probe: dict[str, Any]) -> Iterator[Finding]:
    timeout = number(probe.get("timeoutSeconds"), 1)
    period = number(probe.get("periodSeconds"), 10)
    needed = COMMAND_SECONDS if "exec" in probe else math.ceil(ANSWER_SECONDS)
    what = f"{PROBES[name]} waits {timeout:g} s (timeoutSeconds)"
    if timeout < needed:
        what += f"; the answer may take {needed:g} s"
        yield finding(area, "timeout-short", what, prefix=f"{name}-", needed=needed)
    elif timeout >= period and name != "startup":  # a startup probe ends with its first answer
        better = max(needed, int(period / 2))
        what += f" and runs every {period:g} s"
        yield finding(
            area, "timeout-long", what, prefix=f"{name}-", needed=better, answer=ANSWER_SECONDS
        )


def _check_detection(container: Container) -> Iterator[Finding]:
    """Yield a readiness probe that notices a silent database late."""
    probe = mapping(container.spec.get("readinessProbe"))
    period = number(probe.get("periodSeconds"), 10)
    failures = number(probe.get("failureThreshold"), 3)
    deadline = container.timings.settings.database_check_timeout_seconds
    seconds = deadline + DETECTION_SECONDS + failures * period
    if period > REST_SECONDS:
        what = f"readinessProbe runs every {period:g} s"
        yield finding(container.area, "readiness-period-long", what, rest=REST_SECONDS)
    elif seconds > DETECT_WITHIN_SECONDS:
        what = (
            f"A silent database is detected after {seconds:g} s: {deadline:g} s deadline, "
            f"{DETECTION_SECONDS:g} s, and {failures:g} probes {period:g} s apart"
        )
        yield finding(container.area, "readiness-slow", what)


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
        yield finding(area, "scrape-path", f"Prometheus would scrape {path}")


def check_volumes(container: Container) -> Iterator[Finding]:
    """Yield a metrics directory on a disk, shared or unbounded; and SQLite without a volume."""
    area = container.area
    directory = container.environ.get("PROMETHEUS_MULTIPROC_DIR") or SHARED_MEMORY
    what = f"{directory}, the metrics directory,"
    volume = _volume_at(container, directory)
    if volume is None:
        yield finding(area, "metrics-volume-missing", f"{what} is not on a mounted volume")
    elif "emptyDir" not in volume:
        what += " is on a volume that outlives the pod"
        yield finding(area, "metrics-volume-shared", what)
    elif at(volume, "emptyDir", "medium") != "Memory":
        yield finding(area, "metrics-volume-on-disk", f"{what} is on the node's disk")
    elif not at(volume, "emptyDir", "sizeLimit"):
        yield finding(area, "metrics-volume-unbounded", f"{what} has no sizeLimit")
    if container.uses_sqlite and container.replicas > 1:
        what = f"{container.replicas:g} replicas, each with an SQLite file of its own"
        yield finding(area, "sqlite-replicated", what)
    url = container.environ.get("DATABASE_URL", "")
    path = url.partition("///")[2].rpartition("/")[0] if url else "/app/var"
    read_only = at(container.spec, "securityContext", "readOnlyRootFilesystem") is True
    if container.uses_sqlite and read_only and _volume_at(container, path) is None:
        what = f"The root file system is read-only, and nothing is mounted at {path}"
        yield finding(area, "root-read-only", what)


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


CHECKS: Final = (check_probes, check_stop, check_annotations, check_volumes)
