"""Kubernetes objects: which of them run the service, and with which figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from atom_platform.tools.doctor.finding import Finding, note, ok, trouble
from atom_platform.tools.doctor.lint import pods, probes, volumes
from atom_platform.tools.doctor.lint.figures import figures_of
from atom_platform.tools.doctor.lint.secrets import check_plain_text
from atom_platform.tools.doctor.lint.shape import at, items, mapping, number, text
from atom_platform.tools.doctor.lint.subject import Subject

__all__ = ["check_objects"]

#: Where each kind keeps its pod.
POD_PATHS = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}

#: They run to an end: nobody probes them, and nobody waits for them to drain.
BATCH = ("Job", "CronJob")

TO_SECRET = "Put it into a Secret and use valueFrom.secretKeyRef."  # noqa: S105 — an advice


def check_objects(objects: Sequence[tuple[str, dict[str, Any]]]) -> Iterator[Finding]:
    """Yield what is to be said about *objects*, each with the file that it is in."""
    maps = {
        text(at(each, "metadata", "name")): {
            key: text(value) for key, value in mapping(each.get("data")).items()
        }
        for _, each in objects
        if each.get("kind") == "ConfigMap"
    }
    tagged = frozenset(
        text(image.get("name"))
        for _, each in objects
        if each.get("kind") == "Kustomization"
        for image in items(each.get("images"))
        if "newTag" in image or "digest" in image
    )
    for path, each in objects:
        kind, name = text(each.get("kind")), text(at(each, "metadata", "name"))
        area = f"{path}: {kind}/{name}"
        if kind == "ConfigMap":
            yield from check_plain_text(area, maps[name], where="a ConfigMap", do=TO_SECRET)
        elif kind in ("ServiceMonitor", "PodMonitor"):
            yield from _monitor(area, each)
        elif kind in POD_PATHS:
            yield from _workload(area, kind, each, maps, tagged)


def _workload(
    area: str,
    kind: str,
    each: dict[str, Any],
    maps: dict[str, dict[str, str]],
    tagged: frozenset[str],
) -> Iterator[Finding]:
    template = mapping(at(each, *POD_PATHS[kind]) if POD_PATHS[kind] else each)
    pod = mapping(template.get("spec"))
    containers = items(pod.get("containers"))
    if not any(container.get("image") for container in containers):
        yield note(area, "object-partial", "A patch without an image: examine the rendered object")
        return
    ours = [container for container in containers if _runs_the_service(container)]
    if not ours:
        yield note(area, "object-foreign", "No container looks like this service")
    for container in ours:
        environ, names = _environment(container, maps)
        command = f"{text(container.get('command'))} {text(container.get('args'))}"
        subject = Subject(
            area=f"{area} container {text(container.get('name'))}",
            kind=kind,
            replicas=number(at(each, "spec", "replicas"), 1),
            pod=pod,
            annotations=mapping(at(template, "metadata", "annotations")),
            container=container,
            environ=environ,
            names=names,
            figures=figures_of(environ, names=names, command=command),
            tagged_elsewhere=tagged,
        )
        findings = [finding for rule in _rules(kind) for finding in rule(subject)]
        yield from findings or [ok(subject.area, "all-well", "Nothing to complain about")]


def _runs_the_service(container: dict[str, Any]) -> bool:
    """Whether *container* looks like ours; what stands beside it is not ours to judge."""
    words = " ".join(text(container.get(key)) for key in ("image", "name", "command", "args"))
    return (
        any(word in words for word in ("atom", "gunicorn", "wsgi"))
        or any(
            number(port.get("containerPort"), 0) == 8000 for port in items(container.get("ports"))
        )
        or any(
            text(at(container, probe, "httpGet", "path")).startswith("/health/")
            for probe in ("livenessProbe", "readinessProbe", "startupProbe")
        )
    )


def _environment(
    container: dict[str, Any], maps: dict[str, dict[str, str]]
) -> tuple[dict[str, str], set[str]]:
    """Return the variables whose values are known, and the names of all."""
    environ: dict[str, str] = {}
    for source in items(container.get("envFrom")):
        environ |= maps.get(text(at(source, "configMapRef", "name")), {})
    names = set(environ)
    for variable in items(container.get("env")):
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
    # A secret of which only the name is known may hold any of them.
    if any("secretRef" in source for source in items(container.get("envFrom"))):
        names.add("DATABASE_URL")
    return environ, names


def _rules(kind: str) -> tuple[Callable[[Subject], Iterator[Finding]], ...]:
    return (
        *pods.RULES,
        *(() if kind in BATCH else (*probes.RULES, *pods.SERVICE_RULES, *volumes.RULES)),
    )


def _monitor(area: str, each: dict[str, Any]) -> Iterator[Finding]:
    endpoints = at(each, "spec", "endpoints") or at(each, "spec", "podMetricsEndpoints")
    for endpoint in items(endpoints):
        path = text(endpoint.get("path")) or "/metrics"
        if path.rstrip("/") != "/health/metrics":
            yield trouble(
                area,
                "scrape-path",
                f"Prometheus would scrape {path}",
                why="There is nothing: every alert stays silent but the one for a missing target.",
                do="Set path: /health/metrics.",
            )
