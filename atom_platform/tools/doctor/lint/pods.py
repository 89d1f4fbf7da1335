"""Kubernetes pods: what they are given, how they stop, and who finds them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from atom_platform.tools.doctor.finding import Finding, note, trouble, warning
from atom_platform.tools.doctor.lint.image import check_image
from atom_platform.tools.doctor.lint.secrets import COMMAND_LINE, check_plain_text
from atom_platform.tools.doctor.lint.shape import at, items, mapping, number, text
from atom_platform.tools.doctor.lint.subject import Subject

__all__ = ["RULES", "SERVICE_RULES"]

#: What Kubernetes takes for terminationGracePeriodSeconds.
GRACE_SECONDS = 30


def check_settings(subject: Subject) -> Iterator[Finding]:
    """Yield settings that the service would not take."""
    for error in subject.figures.errors:
        yield trouble(
            subject.area,
            "setting-invalid",
            str(error),
            why="The service does not start with it.",
            do="Correct the variable, or remove it for the default.",
        )


def check_secrets(subject: Subject) -> Iterator[Finding]:
    """Yield secrets that are written out."""
    values = {
        text(each.get("name")): text(each.get("value"))
        for each in items(subject.container.get("env"))
        if "value" in each
    }
    command = f"{text(subject.container.get('command'))} {text(subject.container.get('args'))}"
    yield from check_plain_text(
        subject.area,
        {**values, COMMAND_LINE: command},
        where="the manifest",
        do="Put it into a Secret and use valueFrom.secretKeyRef.",
    )


def check_container(subject: Subject) -> Iterator[Finding]:
    """Yield what is to be said about image and resources."""
    yield from check_image(
        subject.area,
        text(subject.container.get("image")),
        tagged_elsewhere=subject.tagged_elsewhere,
    )
    resources = mapping(subject.container.get("resources"))
    missing = [
        f"{side}.{what}"
        for side, what in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory"))
        if not at(resources, side, what)
    ]
    if missing:
        yield warning(
            subject.area,
            "resources-missing",
            f"No resources.{', resources.'.join(missing)}",
            why="Without requests the pod shares a processor with whoever is loudest; without a "
            "memory limit it can take the node with it.",
            do="Set them; see the capacity page for measured figures.",
        )


def check_stop(subject: Subject) -> Iterator[Finding]:
    """Yield a grace period that is over before the service is."""
    settings = subject.figures.settings
    hook = mapping(at(subject.container, "lifecycle", "preStop"))
    command = text(at(hook, "exec", "command"))
    waits = [number(at(hook, "sleep", "seconds"), 0)]
    waits += [float(seconds) for seconds in re.findall(r"\bsleep ([0-9.]*[0-9])", command)]
    hook_seconds = sum(waits)
    if "probe drain" in command:  # the drain runs while the hook waits
        stop_seconds = max(hook_seconds, settings.drain_seconds) + subject.figures.graceful_seconds
    else:
        stop_seconds = hook_seconds + subject.figures.stop_seconds
    grace = number(subject.pod.get("terminationGracePeriodSeconds"), GRACE_SECONDS)
    if grace <= stop_seconds:
        given = "" if "terminationGracePeriodSeconds" in subject.pod else " (the default)"
        yield trouble(
            subject.area,
            "grace-short",
            f"terminationGracePeriodSeconds is {grace:g}{given}; stopping may take "
            f"{stop_seconds:g} s: preStop {hook_seconds:g}, drain {settings.drain_seconds:g}, "
            f"graceful_timeout {subject.figures.graceful_seconds:g}",
            why="The pod is killed in the middle of requests.",
            do=f"Set terminationGracePeriodSeconds: {int(stop_seconds) + 5}.",
        )
    if not hook_seconds and not settings.drain_seconds:
        yield trouble(
            subject.area,
            "drain-missing",
            "The service stops listening the moment it is told to stop",
            why="Endpoints are removed at the same time, not before: connections are refused at "
            "every rollout.",
            do="Set ATOM_DRAIN_SECONDS to 10, or a preStop hook that sleeps.",
        )


def check_rights(subject: Subject) -> Iterator[Finding]:
    """Yield rights that the service does not need."""
    context = {
        **mapping(subject.pod.get("securityContext")),
        **mapping(subject.container.get("securityContext")),
    }
    unset = [
        setting
        for setting, wanted in (
            ("runAsNonRoot: true", context.get("runAsNonRoot") is True),
            ("allowPrivilegeEscalation: false", context.get("allowPrivilegeEscalation") is False),
            ("readOnlyRootFilesystem: true", context.get("readOnlyRootFilesystem") is True),
        )
        if not wanted
    ]
    if unset:
        yield note(
            subject.area,
            "rights-wide",
            f"securityContext without {', '.join(unset)}",
            why="Whoever breaks in can do more than the service needs.",
            do="Set them: the image is made for it.",
        )


def check_annotations(subject: Subject) -> Iterator[Finding]:
    """Yield annotations that send Prometheus to the wrong place."""
    if text(subject.annotations.get("prometheus.io/scrape")).lower() != "true":
        return
    path = text(subject.annotations.get("prometheus.io/path")) or "/metrics"
    if path.rstrip("/") != "/health/metrics":
        yield trouble(
            subject.area,
            "scrape-path",
            f"Prometheus would scrape {path}",
            why="There is nothing: every alert stays silent but the one for a missing target.",
            do="Set the annotation prometheus.io/path: /health/metrics.",
        )


RULES = (check_settings, check_secrets, check_container)
SERVICE_RULES = (
    check_stop,
    check_rights,
    check_annotations,
)
