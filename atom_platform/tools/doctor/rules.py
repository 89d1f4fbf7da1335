"""What the doctor says about manifests: severity, reason and advice of each code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from atom_platform.tools.doctor.findings import Finding, Severity

__all__ = ["RULES", "finding"]


class Rule(NamedTuple):
    """A severity, why it matters, and what to do; the check fills in the fields in braces."""

    severity: Severity
    why: str
    do: str


METRICS_VOLUME: Final = (
    "Mount an emptyDir with medium: Memory and a sizeLimit, and name its path in "
    "PROMETHEUS_MULTIPROC_DIR."
)
TO_POSTGRESQL: Final = "Set DATABASE_URL to a PostgreSQL server, as a secret."

RULES: Final[Mapping[str, Rule]] = {
    "setting-invalid": Rule(
        "error",
        "The service does not start with it.",
        "Correct the variable, or remove it for the default.",
    ),
    "secret-in-plain-text": Rule(
        "error",
        "The secret is in the file, in its history and in the running definition.",
        "Use a Secret (Kubernetes) or `secrets` (ECS), and replace the secret: this one is known.",
    ),
    "grace-short": Rule(
        "error", "The container is killed in the middle of requests.", "Set {name}: {needed}."
    ),
    "drain-missing": Rule(
        "error",
        "The load balancer still sends requests for a moment, and they are refused.",
        "Set ATOM_DRAIN_SECONDS to 10.",
    ),
    "health-missing": Rule(
        "error",
        "ECS ignores the image's own health check: a worker that hangs is never replaced.",
        "Use the command CMD, python, -m, atom_platform, probe, live.",
    ),
    "liveness-asks-dependencies": Rule(
        "error", "A database outage restarts every container.", "Ask /health/live."
    ),
    "readiness-asks-nothing": Rule(
        "error",
        "Traffic continues when the database is down, and while the service drains.",
        "Ask /health/ready.",
    ),
    "startup-asks-dependencies": Rule(
        "error",
        "A container that starts while the database is slow or the disk full is killed.",
        "Ask /health/startup.",
    ),
    "probe-port": Rule("error", "The probe always fails.", "Set port: {port}, or PORT."),
    "port-unmapped": Rule(
        "error",
        "No client outside of the task reaches it.",
        "Map containerPort {port}, or set PORT.",
    ),
    "timeout-short": Rule(
        "error", "A right answer counts as a failure.", "Set timeoutSeconds: {needed}."
    ),
    "timeout-long": Rule(
        "warning",
        "A lost answer delays the next probe. The service answers within {answer} s, whatever the "
        "database does.",
        "Set timeoutSeconds: {needed}.",
    ),
    "readiness-period-long": Rule(
        "warning",
        "The checks stop when readiness is not asked for {rest} s; each answer then has to wait "
        "for new ones.",
        "Set periodSeconds: 5.",
    ),
    "readiness-slow": Rule(
        "warning",
        "Until then requests are sent where they fail.",
        "Lower periodSeconds or failureThreshold of the readinessProbe.",
    ),
    "scrape-path": Rule(
        "error",
        "There are no metrics: only the alert for a missing target can fire.",
        "Set the path /health/metrics.",
    ),
    "metrics-volume-missing": Rule(
        "warning",
        "Shared memory may have 64 MiB only; any other directory is on the container's disk.",
        METRICS_VOLUME,
    ),
    "metrics-volume-shared": Rule(
        "error",
        "Pods that share it disturb each other; nothing in it is worth keeping.",
        METRICS_VOLUME,
    ),
    "metrics-volume-on-disk": Rule(
        "warning",
        "Every request counts by writing to it, and waits when the disk does.",
        METRICS_VOLUME,
    ),
    "metrics-volume-unbounded": Rule(
        "note", "It may take memory up to the pod's limit.", "Set a sizeLimit, such as 64Mi."
    ),
    "sqlite-replicated": Rule(
        "error", "Which agents exist depends on the instance that answers.", TO_POSTGRESQL
    ),
    "root-read-only": Rule(
        "error",
        "The SQLite database cannot be created: readiness answers 503.",
        f"Mount a volume there, or: {TO_POSTGRESQL}",
    ),
    "file-unreadable": Rule(
        "error",
        "It was not examined, and the orchestrator cannot read it either.",
        "Correct the file, or the command line.",
    ),
    "file-unknown": Rule("note", "", ""),
    "object-partial": Rule("note", "", "Examine the rendered object."),
    "object-foreign": Rule("note", "", ""),
}


def finding(area: str, code: str, what: str, *, prefix: str = "", **values: object) -> Finding:
    """
    Return the finding of the rule *code*.

    Args:
        prefix: Stands before the code in the finding: the probe that a timeout belongs to.
        values: The fields of the rule's advice.
    """
    severity, why, do = RULES[code]
    return Finding(
        area=area,
        code=prefix + code,
        severity=severity,
        what=what,
        why=why.format(**values),
        do=do.format(**values),
    )
