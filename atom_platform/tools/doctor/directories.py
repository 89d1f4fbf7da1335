"""Examines the metrics directory, and the free space of the disk that readiness checks."""

from __future__ import annotations

import importlib.metadata
import os
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from atom_platform.health.checks.disk import disk_check
from atom_platform.metrics.storage.client_format import (
    FIRST_ENTRY,
    CorruptFileError,
    FileName,
    parse_key,
    parse_name,
    read_entries,
)
from atom_platform.metrics.storage.columnar_format import (
    find_segments,
    parse_lines,
    parse_series_key,
)
from atom_platform.metrics.storage.directory_lock import (
    SHARED_MEMORY,
    private_directories,
    read_owner,
)
from atom_platform.server.pidfile import find
from atom_platform.settings import Settings
from atom_platform.tools.doctor.findings import Finding, error, note, ok, warning

__all__ = ["check_disk", "check_metrics"]

AREA = "metrics"
DISK_AREA = "disk"

MIB = 1024**2

#: Room for 16 workers with the samples of a small service; 1,000 label sets take about 1 MiB each.
LEAST_FREE_BYTES = 16 * MIB

#: From this number on, a warning: each sample is stored at each scrape.
MANY_SAMPLES = 50_000

#: Below this multiple of the minimum the disk check warns.
CLOSE_TO_MINIMUM = 1.5

#: How many file names a finding lists.
NAMED = 5


def check_metrics(settings: Settings) -> Iterator[Finding]:
    """Yield the findings for prometheus_client and the metrics directory; nothing is written."""
    yield _library()
    directory = settings.metrics_directory or _private_directory(settings.port)
    if directory is None:
        yield from _shared_memory()
    elif not directory.exists():
        yield from _check_missing_directory(directory)
    elif not directory.is_dir():
        yield _unusable(f"{directory} is not a directory")
    elif not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        yield _unusable(f"{directory} is not writable by this user")
    else:
        yield _space(directory)
        yield from _files(directory)


def _library() -> Finding:
    try:
        version = importlib.metadata.version("prometheus_client")
    except importlib.metadata.PackageNotFoundError:
        return error(
            AREA,
            "library-missing",
            "prometheus_client is not installed",
            why="The service does not start.",
            do="pip install -r requirements.txt",
        )
    return ok(AREA, "library-installed", f"prometheus_client {version} is installed")


def _private_directory(port: int) -> Path | None:
    """Return the directory of the service that runs on *port*, if one does."""
    arbiter = find(port)
    if arbiter is None:
        return None
    for parent in (SHARED_MEMORY, Path(tempfile.gettempdir())):
        for path in private_directories(parent):
            owner = read_owner(path)
            if owner is not None and arbiter.pid in owner.arbiters:
                return path
    return None


def _shared_memory() -> Iterator[Finding]:
    what = "PROMETHEUS_MULTIPROC_DIR is not set; the service creates a directory of its own"
    if os.access(SHARED_MEMORY, os.W_OK | os.X_OK):
        yield ok(AREA, "directory-private", f"{what} in {SHARED_MEMORY}")
        yield _space(SHARED_MEMORY)
    else:
        yield warning(
            AREA,
            "directory-not-in-memory",
            f"{what}, and {SHARED_MEMORY} is not writable",
            why="Counting writes to a disk, and may wait for it.",
            do="Mount a memory-backed volume and name it in PROMETHEUS_MULTIPROC_DIR.",
        )


def _check_missing_directory(directory: Path) -> Iterator[Finding]:
    parent = next(each for each in directory.absolute().parents if each.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        yield note(AREA, "directory-new", f"{directory} does not exist; the service creates it")
        yield _space(parent)
    else:
        yield _unusable(f"{directory} does not exist, and {parent} is not writable")


def _unusable(what: str) -> Finding:
    return error(
        AREA,
        "directory-unusable",
        what,
        why="The service counts elsewhere, or in memory only.",
        do="Correct PROMETHEUS_MULTIPROC_DIR, or the directory's owner and mode.",
    )


def _space(directory: Path) -> Finding:
    stat = os.statvfs(directory)
    free = stat.f_bavail * stat.f_frsize
    what = f"{free / MIB:,.0f} MiB free in {directory}"
    if free >= LEAST_FREE_BYTES:
        return ok(AREA, "directory-space", what)
    return error(
        AREA,
        "directory-full",
        what,
        why="New series stay in the memory of one worker, and the scrapes of the others lack them.",
        do="Raise the size limit of the volume (docker: --shm-size), or remove labels.",
    )


def _files(directory: Path) -> Iterator[Finding]:
    samples: Counter[str] = Counter()
    unreadable: list[str] = []
    stale: list[str] = []
    readable = 0
    keys: dict[bytes, str] = {}
    for path in sorted(directory.iterdir()):
        name = parse_name(path.name)
        if path.name.endswith(".corrupt"):
            unreadable.append(path.name)
        if name is None:
            continue
        try:
            keys |= _families_by_key(path)
        except FileNotFoundError:  # the service may have removed it
            continue
        except (OSError, CorruptFileError):
            unreadable.append(path.name)
        else:
            readable += 1
        if _is_stale(name):
            stale.append(path.name)
    samples.update(keys.values())
    if unreadable:
        yield warning(
            AREA,
            "files-unreadable",
            f"Files that cannot be read: {_named(unreadable)}",
            why="The scrape lacks their samples.",
            do="Find the other program that writes to the directory; a restart clears it.",
        )
    if stale:
        yield warning(
            AREA,
            "files-stale",
            f"Files of processes that have ended: {_named(stale)}",
            why="Their counts are right, but each such process leaves more files to read.",
            do="Run jobs through `Monitoring`, which reuses slots; a restart clears the directory.",
        )
    yield _series(samples, readable)


def _families_by_key(path: Path) -> dict[bytes, str]:
    """
    Return the key and the family of each sample in the file at *path*.

    Raises:
        OSError: It cannot be read.
        CorruptFileError: It is not a metrics file.
    """
    data = path.read_bytes()
    if path.suffix == ".columnar":
        lines = [line for each in find_segments(data) for line in parse_lines(data, each)]
        return {
            identity + role: parse_series_key(identity)[0]
            for identity, _, roles in lines
            for role in roles
        }
    if len(data) < FIRST_ENTRY:
        raise CorruptFileError(f"{len(data)} bytes")
    (used,) = struct.unpack_from("i", data)
    # 0: prometheus_client has created the file and not yet written to it.
    entries = read_entries(data, FIRST_ENTRY, used) if used else []
    return {key: parse_key(key).family for key, _ in entries}


def _is_stale(name: FileName) -> bool:
    """Whether a plain prometheus_client process wrote the file and has ended; slots are reused."""
    return name.writer.isdigit() and not Path("/proc", name.writer).exists()


def _series(samples: Counter[str], files: int) -> Finding:
    total = samples.total()
    what = f"{total:,} samples in {files} {'file' if files == 1 else 'files'}"
    if total <= MANY_SAMPLES:
        return ok(AREA, "samples", what)
    largest = ", ".join(f"{family} {number:,}" for family, number in samples.most_common(3))
    return warning(
        AREA,
        "samples-many",
        f"{what}; most in {largest}",
        why="Each is read, sent and stored at each scrape.",
        do="Lower ATOM_METRICS_MAX_IDS, or drop the label with the most values.",
    )


def _named(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Yield the findings for free disk space."""
    path, minimum = settings.disk_path, settings.disk_min_free_gb
    try:
        result = disk_check(path, min_free_gb=minimum)()
    except OSError as problem:
        yield error(
            DISK_AREA,
            "disk-unreadable",
            f"{path} cannot be read: {problem.strerror}",
            why="The disk check fails, and readiness answers 503.",
            do="Set ATOM_DISK_PATH to a path that exists on the file system to watch.",
        )
        return
    free_gb = result.details["free_gb"] or 0.0
    what = f"{result.message} on {path}; {minimum:g}GB is the minimum"
    if not result.healthy:
        yield error(
            DISK_AREA,
            "disk-full",
            what,
            why="Readiness answers 503 and the service gets no traffic.",
            do=f"Free space: `df -h {path}`, `du -xh {path} | sort -h | tail`.",
        )
    elif free_gb < minimum * CLOSE_TO_MINIMUM:
        yield warning(
            DISK_AREA,
            "disk-filling",
            what,
            why="Below the minimum readiness answers 503.",
            do=f"Free space now: `du -xh {path} | sort -h | tail`.",
        )
    else:
        yield ok(DISK_AREA, "disk-free", what)
