"""Kubernetes volumes: where the service counts, and where it stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from atom_platform.tools.doctor.finding import Finding, note, trouble, warning
from atom_platform.tools.doctor.lint.shape import at, items, text
from atom_platform.tools.doctor.lint.subject import Subject

__all__ = ["RULES"]

SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 — a mount point to look for, nothing is written

#: What PostgreSQL allows unless told otherwise.
MAX_CONNECTIONS: Final = 100


def check_metrics_volume(subject: Subject) -> Iterator[Finding]:
    """Yield a metrics directory that is on a disk, shared, or too small to rely on."""
    directory = subject.environ.get("PROMETHEUS_MULTIPROC_DIR") or SHARED_MEMORY
    volume = _volume_at(subject, directory)
    do = (
        "Mount an emptyDir with medium: Memory and a sizeLimit, and name its path in "
        "PROMETHEUS_MULTIPROC_DIR."
    )
    if volume is None:
        what = (
            "No memory-backed volume for metrics"
            if directory == SHARED_MEMORY
            else f"{directory}, the metrics directory, is no mounted volume"
        )
        yield warning(
            subject.area,
            "metrics-volume-missing",
            what,
            why="Shared memory has 64 MiB, which a service with many agents fills; elsewhere "
            "counting writes to the container's disk.",
            do=do,
        )
    elif "emptyDir" not in volume:
        yield trouble(
            subject.area,
            "metrics-volume-shared",
            f"{directory}, the metrics directory, is on a volume that outlives the pod",
            why="Pods may share it and take each other's place; nothing in it is worth keeping.",
            do=do,
        )
    elif at(volume, "emptyDir", "medium") != "Memory":
        yield warning(
            subject.area,
            "metrics-volume-on-disk",
            f"{directory}, the metrics directory, is on the node's disk",
            why="Every request counts by writing to it, and waits when the disk does.",
            do=do,
        )
    elif not at(volume, "emptyDir", "sizeLimit"):
        yield note(
            subject.area,
            "metrics-volume-unbounded",
            f"{directory}, the metrics directory, has no sizeLimit",
            why="It may take memory up to the pod's limit.",
            do="Set a sizeLimit, such as 64Mi.",
        )


def check_storage(subject: Subject) -> Iterator[Finding]:
    """Yield an embedded database where there cannot be one."""
    url = subject.environ.get("DATABASE_URL", "")
    if subject.figures.knows_database and not url.startswith("sqlite"):
        yield from _connections(subject)
        return
    if subject.replicas > 1:
        yield trouble(
            subject.area,
            "sqlite-replicated",
            f"{subject.replicas:g} replicas, each with an SQLite file of its own",
            why="Which agents exist depends on which pod answers.",
            do="Set DATABASE_URL to a PostgreSQL server, from a Secret.",
        )
    read_only = at(subject.container, "securityContext", "readOnlyRootFilesystem") is True
    path = "/app/var" if not url else url.partition("///")[2].rpartition("/")[0]
    if read_only and _volume_at(subject, path) is None:
        yield trouble(
            subject.area,
            "root-read-only",
            f"The root file system is read-only, and nothing is mounted at {path}",
            why="The embedded SQLite database cannot be made: readiness answers 503.",
            do="Mount a volume there, or set DATABASE_URL to a PostgreSQL server.",
        )


def _connections(subject: Subject) -> Iterator[Finding]:
    settings = subject.figures.settings
    wanted = subject.replicas * settings.workers * (settings.database_pool_size + 1)
    if wanted > MAX_CONNECTIONS:
        yield warning(
            subject.area,
            "connections-many",
            f"Up to {wanted:g} database connections: {subject.replicas:g} replicas of "
            f"{settings.workers} workers with {settings.database_pool_size} and one for the check",
            why=f"PostgreSQL allows {MAX_CONNECTIONS} unless told otherwise.",
            do="Reduce the pool, raise max_connections, or put PgBouncer in between.",
        )


def _volume_at(subject: Subject, path: str) -> dict[str, Any] | None:
    """Return the volume that *path* lies on, or None when that is the container's own disk."""
    volumes = {text(volume.get("name")): volume for volume in items(subject.pod.get("volumes"))}
    mounts = [
        (text(mount.get("mountPath")).rstrip("/"), text(mount.get("name")))
        for mount in items(subject.container.get("volumeMounts"))
    ]
    fitting = [
        (point, name) for point, name in mounts if f"{path.rstrip('/')}/".startswith(f"{point}/")
    ]
    if not fitting:
        return None
    return volumes.get(max(fitting, key=lambda mount: len(mount[0]))[1])


RULES = (check_metrics_volume, check_storage)
