"""Examines the settings, each alone and all together."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace

from atom_platform.server.config import default_workers
from atom_platform.settings import Settings, SettingsError
from atom_platform.tools.doctor.findings import Finding, error, note, ok, warning

__all__ = ["check_settings", "known_variables", "read_settings"]

AREA = "settings"

#: More workers per processor than this only cost memory.
WORKERS_PER_CPU = 4


def known_variables() -> set[str]:
    """Return the environment variables that are settings."""
    return {each.metadata["variable"] for each in fields(Settings)}


def read_settings(environ: Mapping[str, str]) -> tuple[Settings, list[SettingsError]]:
    """Return the settings, with defaults in place of invalid values, and the errors."""
    errors: list[SettingsError] = []
    good: dict[str, str] = {}
    for variable in sorted(known_variables() & environ.keys()):
        try:
            Settings.from_environ({variable: environ[variable]})
        except SettingsError as problem:
            errors.append(problem)
        else:
            good[variable] = environ[variable]
    try:
        return Settings.from_environ(good), errors
    except SettingsError as problem:  # valid alone, but not together
        return Settings(), [*errors, problem]


def check_settings(
    environ: Mapping[str, str], *, limit_cpus: float | None = None
) -> Iterator[Finding]:
    """
    Yield the findings for the settings in *environ*.

    Args:
        limit_cpus: The container's CPU limit; None without one.
    """
    settings, errors = read_settings(environ)
    for problem in errors:
        yield error(
            AREA,
            "setting-invalid",
            str(problem),
            why="The service does not start with it.",
            do="Correct the variable, or remove it for the default.",
        )
    yield from _unknown(environ)
    if errors:
        return
    if not environ.get("WEB_CONCURRENCY", "").strip():
        settings = replace(settings, workers=default_workers(limit_cpus))
    workers = "1 worker" if settings.workers == 1 else f"{settings.workers} workers"
    yield ok(
        AREA,
        "settings-read",
        f"{workers} with {settings.threads} threads each on port {settings.port}",
    )
    yield from _processors(settings, limit_cpus)
    yield from _together(settings)


def _unknown(environ: Mapping[str, str]) -> Iterator[Finding]:
    known = known_variables()
    for variable in sorted(environ):
        if variable.startswith("ATOM_") and variable not in known:
            close = difflib.get_close_matches(variable, known, n=1)
            yield warning(
                AREA,
                "setting-unknown",
                f"{variable} is not a setting",
                why="It has no effect; a mistyped setting looks like this.",
                do=f"Did you mean {close[0]}?" if close else "Remove it, or look up its name.",
            )


def _processors(settings: Settings, limit_cpus: float | None) -> Iterator[Finding]:
    cpus: float = len(os.sched_getaffinity(0))
    if limit_cpus is not None:
        cpus = min(cpus, limit_cpus)
    if settings.workers > WORKERS_PER_CPU * cpus:
        yield warning(
            AREA,
            "workers-many",
            f"{settings.workers} workers share {cpus:g} processors",
            why="Workers wait for each other, and each costs memory and database connections.",
            do=f"Set WEB_CONCURRENCY to {max(1, int(2 * cpus))} or less and measure.",
        )
    elif limit_cpus is not None and settings.workers < int(cpus):
        yield note(
            AREA,
            "workers-few",
            f"{settings.workers} workers use {settings.workers} of the container's {cpus:g} CPUs",
            why="A worker uses one at most.",
            do=f"Set WEB_CONCURRENCY to {int(cpus)} or more; each takes "
            f"{settings.database_pool_size + 1} database connections.",
        )


def _together(settings: Settings) -> Iterator[Finding]:
    if settings.database_pool_size < settings.threads:
        yield warning(
            AREA,
            "pool-small",
            f"{settings.threads} threads share {settings.database_pool_size} database connections",
            why="Requests queue for a connection, and fail after "
            f"{settings.database_pool_timeout_seconds:g} s.",
            do="Set ATOM_DB_POOL_SIZE to at least ATOM_THREADS.",
        )
    if not settings.drain_seconds:
        yield note(
            AREA,
            "drain-off",
            "SIGTERM closes the port at once",
            why="A load balancer still sends requests for a moment, and they are refused.",
            do="Behind a load balancer, set ATOM_DRAIN_SECONDS=10.",
        )
