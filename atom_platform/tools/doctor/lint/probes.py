"""Kubernetes probes: do they ask the right thing, and leave time for the answer?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from atom_platform.tools.doctor.finding import Finding, trouble, warning
from atom_platform.tools.doctor.lint.figures import ANSWER_SECONDS, DETECTION_SECONDS
from atom_platform.tools.doctor.lint.shape import at, items, mapping, number, text
from atom_platform.tools.doctor.lint.subject import Subject

__all__ = ["RULES"]

#: Longer than this without a question, and the service lets its checks rest.
REST_SECONDS = 60

#: A Python process has to start for each of them, on whatever share of a processor there is.
COMMAND_SECONDS = 5

#: Longest that a pod should go on getting traffic that it cannot serve.
UNPLUG_SECONDS = 60

#: Least time that a start is given: a cold node, a slow disk, a database that restarts too.
START_SECONDS = 30

KINDS = {"liveness": "livenessProbe", "readiness": "readinessProbe", "startup": "startupProbe"}


def check_presence(subject: Subject) -> Iterator[Finding]:
    """Yield probes that are missing."""
    missing = {
        "liveness": (
            "A worker that hangs is never replaced.",
            "Add a livenessProbe on /health/live.",
        ),
        "readiness": (
            "Traffic comes before the service has started, and goes on when its database is gone.",
            "Add a readinessProbe on /health/ready.",
        ),
        "startup": (
            "A start that is slower than liveness allows is killed, again and again.",
            "Add a startupProbe on /health/startup, and drop initialDelaySeconds of the others.",
        ),
    }
    for name, (why, do) in missing.items():
        if not subject.container.get(KINDS[name]):
            make = warning if name == "startup" else trouble
            yield make(subject.area, f"{name}-missing", f"No {KINDS[name]}", why=why, do=do)


def check_questions(subject: Subject) -> Iterator[Finding]:
    """Yield probes that ask the wrong thing."""
    asked = {name: _asks(mapping(subject.container.get(key))) for name, key in KINDS.items()}
    if asked["liveness"] in ("ready", "startup"):
        yield trouble(
            subject.area,
            "liveness-asks-dependencies",
            f"livenessProbe asks /health/{asked['liveness']}",
            why="When the database is gone every pod is restarted, which mends nothing and adds a "
            "storm of connections to its return.",
            do="Point it at /health/live.",
        )
    if asked["readiness"] == "live":
        yield trouble(
            subject.area,
            "readiness-asks-nothing",
            "readinessProbe asks /health/live",
            why="Traffic goes on when the database is gone, and while the service drains.",
            do="Point it at /health/ready.",
        )
    if asked["startup"] == "ready":
        yield trouble(
            subject.area,
            "startup-asks-dependencies",
            "startupProbe asks /health/ready",
            why="A pod that starts while the database is slow or the disk full is killed for it.",
            do="Point it at /health/startup.",
        )


def check_times(subject: Subject) -> Iterator[Finding]:
    """Yield probes that give up too early, or too late."""
    for name, key in KINDS.items():
        probe = mapping(subject.container.get(key))
        if not probe:
            continue
        timeout = number(probe.get("timeoutSeconds"), 1)
        period = number(probe.get("periodSeconds"), 10)
        needed = COMMAND_SECONDS if "exec" in probe else math.ceil(ANSWER_SECONDS)
        if timeout < needed:
            yield trouble(
                subject.area,
                f"{name}-timeout-short",
                f"{key} waits {timeout:g} s (timeoutSeconds); the answer may take {needed:g} s",
                why="A right answer is counted as none.",
                do=f"Set timeoutSeconds: {needed:g}.",
            )
        elif timeout >= period and name != "startup":  # which is over when it has its answer
            yield warning(
                subject.area,
                f"{name}-timeout-long",
                f"{key} waits {timeout:g} s (timeoutSeconds) and is due every {period:g} s",
                why="A lost answer holds up the next question: the verdict comes late. The service "
                f"answers within {ANSWER_SECONDS:g} s, whatever the database does.",
                do=f"Set timeoutSeconds: {max(needed, int(period / 2)):g}.",
            )
    yield from _reaction(subject)
    yield from _start(subject)


def _reaction(subject: Subject) -> Iterator[Finding]:
    probe = mapping(subject.container.get("readinessProbe"))
    if not probe:
        return
    period = number(probe.get("periodSeconds"), 10)
    failures = number(probe.get("failureThreshold"), 3)
    deadline = subject.figures.settings.database_check_timeout_seconds
    seconds = deadline + DETECTION_SECONDS + failures * period
    if period > REST_SECONDS:
        yield warning(
            subject.area,
            "readiness-period-long",
            f"readinessProbe asks every {period:g} s",
            why=f"The service lets its checks rest when nobody asks for {REST_SECONDS} s; each "
            "answer then has to wait for new ones.",
            do="Set periodSeconds: 5.",
        )
    elif seconds > UNPLUG_SECONDS:
        yield warning(
            subject.area,
            "readiness-slow",
            f"A silent database is noticed after {seconds:g} s: {deadline:g} s deadline, "
            f"{DETECTION_SECONDS:g} s, and {failures:g} probes {period:g} s apart",
            why="For so long requests are sent where they fail.",
            do="Lower periodSeconds or failureThreshold of the readinessProbe.",
        )


def _start(subject: Subject) -> Iterator[Finding]:
    probe = mapping(subject.container.get("startupProbe"))
    if not probe:
        return
    seconds = number(probe.get("initialDelaySeconds"), 0)
    seconds += number(probe.get("failureThreshold"), 3) * number(probe.get("periodSeconds"), 10)
    if seconds < START_SECONDS:
        yield warning(
            subject.area,
            "startup-short",
            f"startupProbe gives the start {seconds:g} s",
            why="A cold node, or a database that is restarted too, takes longer; then the pod is "
            "killed and begins anew.",
            do="Raise failureThreshold, so that failureThreshold * periodSeconds is 60 or more.",
        )


def check_ports(subject: Subject) -> Iterator[Finding]:
    """Yield probes of a port where nobody listens."""
    named = {
        text(port.get("name")): number(port.get("containerPort"), 0)
        for port in items(subject.container.get("ports"))
    }
    for key in KINDS.values():
        port = at(subject.container, key, "httpGet", "port")
        if port is None:
            continue
        found = number(port, named.get(text(port), -1))
        if found not in subject.figures.probe_ports:
            yield trouble(
                subject.area,
                "probe-port",
                f"{key} asks port {port}; the service listens on {subject.figures.port}",
                why="The probe always fails.",
                do=f"Set port: {subject.figures.port}, or PORT.",
            )


def _asks(probe: dict[str, Any]) -> str:
    """Return `live`, `ready` or `startup`, or nothing when it is something else."""
    path = text(at(probe, "httpGet", "path")).partition("?")[0].rstrip("/")
    command = text(at(probe, "exec", "command"))
    for name in ("live", "ready", "startup"):
        if path == f"/health/{name}" or f"/health/{name}" in command or f"probe {name}" in command:
            return name
    return ""


RULES = (check_presence, check_questions, check_times, check_ports)
