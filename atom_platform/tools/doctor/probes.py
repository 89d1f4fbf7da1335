"""Kubernetes probes: path, port and timeouts against what our service answers, and when."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from atom_platform.tools.doctor.container import (
    ANSWER_SECONDS,
    DETECTION_SECONDS,
    Container,
    at,
    items,
    mapping,
    number,
    text,
)
from atom_platform.tools.doctor.findings import Finding, error, warning

__all__ = ["PROBES", "check_probes"]

PROBES: Final = {
    "liveness": "livenessProbe",
    "readiness": "readinessProbe",
    "startup": "startupProbe",
}

#: (probe, what it asks): code, why it is wrong.
WRONG_PATHS: Final = {
    ("liveness", "ready"): ("liveness-asks-dependencies", "A database outage restarts every pod."),
    ("liveness", "startup"): ("liveness-asks-dependencies", "A slow check restarts every pod."),
    ("readiness", "live"): (
        "readiness-asks-nothing",
        "Traffic continues when the database is down, and while the service drains.",
    ),
    ("startup", "ready"): (
        "startup-asks-dependencies",
        "A pod that starts while the database is slow or the disk full is killed.",
    ),
}

#: The service stops its checks when readiness is not asked for this long.
REST_SECONDS: Final = 60

#: A probe that is a command starts a Python process, on whatever CPU share there is.
COMMAND_SECONDS: Final = 5

#: Longest that a pod should get traffic that it cannot serve.
DETECT_WITHIN_SECONDS: Final = 60

PATHS: Final = {"liveness": "live", "readiness": "ready", "startup": "startup"}


def check_probes(container: Container) -> Iterator[Finding]:
    """Yield probes that are missing, ask a wrong path or port, or wait too short or too long."""
    named = {
        text(port.get("name")): number(port.get("containerPort"), 0)
        for port in items(container.spec.get("ports"))
    }
    ports = container.timings.probe_ports
    for name, key in PROBES.items():
        probe = mapping(container.spec.get(key))
        if not probe:
            make = warning if name == "startup" else error
            yield make(
                container.area,
                f"{name}-missing",
                f"No {key}",
                why="The orchestrator does not know when the service has started, hangs or "
                "cannot serve.",
                do=f"Add a {key} on /health/{PATHS[name]}.",
            )
            continue
        if found := WRONG_PATHS.get((name, _asks(probe))):
            code, why = found
            what = f"{key} asks /health/{_asks(probe)}"
            yield error(
                container.area, code, what, why=why, do=f"Point it at /health/{PATHS[name]}."
            )
        port = at(probe, "httpGet", "port")
        if port is not None and number(port, named.get(text(port), -1)) not in ports:
            yield error(
                container.area,
                "probe-port",
                f"{key} asks port {port}; the service listens on {container.timings.port}",
                why="The probe always fails.",
                do=f"Set port: {container.timings.port}, or PORT.",
            )
        yield from _check_timeout(container.area, name, probe)
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
    key = PROBES[name]
    timeout = number(probe.get("timeoutSeconds"), 1)
    period = number(probe.get("periodSeconds"), 10)
    needed = COMMAND_SECONDS if "exec" in probe else math.ceil(ANSWER_SECONDS)
    if timeout < needed:
        yield error(
            area,
            f"{name}-timeout-short",
            f"{key} waits {timeout:g} s (timeoutSeconds); the answer may take {needed:g} s",
            why="A right answer counts as a failure.",
            do=f"Set timeoutSeconds: {needed:g}.",
        )
    elif timeout >= period and name != "startup":  # a startup probe ends with its first answer
        yield warning(
            area,
            f"{name}-timeout-long",
            f"{key} waits {timeout:g} s (timeoutSeconds) and runs every {period:g} s",
            why="A lost answer delays the next probe. The service answers within "
            f"{ANSWER_SECONDS:g} s, whatever the database does.",
            do=f"Set timeoutSeconds: {max(needed, int(period / 2)):g}.",
        )


def _check_detection(container: Container) -> Iterator[Finding]:
    """Yield a readiness probe that notices a silent database late."""
    probe = mapping(container.spec.get("readinessProbe"))
    period = number(probe.get("periodSeconds"), 10)
    failures = number(probe.get("failureThreshold"), 3)
    deadline = container.timings.settings.database_check_timeout_seconds
    seconds = deadline + DETECTION_SECONDS + failures * period
    if period > REST_SECONDS:
        yield warning(
            container.area,
            "readiness-period-long",
            f"readinessProbe runs every {period:g} s",
            why=f"The checks stop when readiness is not asked for {REST_SECONDS} s; each answer "
            "then has to wait for new ones.",
            do="Set periodSeconds: 5.",
        )
    elif seconds > DETECT_WITHIN_SECONDS:
        yield warning(
            container.area,
            "readiness-slow",
            f"A silent database is detected after {seconds:g} s: {deadline:g} s deadline, "
            f"{DETECTION_SECONDS:g} s, and {failures:g} probes {period:g} s apart",
            why="Until then requests are sent where they fail.",
            do="Lower periodSeconds or failureThreshold of the readinessProbe.",
        )
