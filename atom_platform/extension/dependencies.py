"""
The dependencies of an application that `Monitoring` watches by itself: disk and engines.

SQLAlchemy is imported only when an engine is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from atom_platform.health.check import CheckResult
from atom_platform.health.checks.disk import BYTES_PER_GB, disk_check
from atom_platform.health.registry import HealthRegistry
from atom_platform.logs.context import note_query
from atom_platform.metrics import instruments
from atom_platform.settings import Settings
from atom_platform.status.recent_events import RECENT_EVENTS

if TYPE_CHECKING:
    from atom_platform.database.engine_check import AnyEngine

__all__ = ["instrument_engine", "record_check", "watch_disk", "watch_engine"]


def instrument_engine(
    engine: AnyEngine, *, on_query: Callable[[float], None] | None = None
) -> None:
    """
    Count and time the statements of *engine* from now on; a second call changes nothing.

    Each statement counts, failed ones too; an `executemany` is one.

    Args:
        engine: Any engine of SQLAlchemy, whatever its database and pool.
        on_query: Called after each statement with its seconds, in the thread that ran it.
    """
    from atom_platform.database import instrument

    instrument.instrument_engine(engine, on_query=on_query)


def watch_disk(health: HealthRegistry, settings: Settings) -> None:
    """Register the check `disk` with the limits of *settings*."""
    health.register(
        "disk",
        disk_check(settings.disk_path, min_free_gb=settings.disk_min_free_gb),
        timeout_seconds=settings.database_check_timeout_seconds,
        measures=("free_gb",),
    )


def watch_engine(health: HealthRegistry, settings: Settings, name: str, engine: AnyEngine) -> None:
    """Count and time the statements of *engine*, and register a check of its database."""
    from atom_platform.database.engine_check import EngineCheck

    instrument_engine(engine, on_query=note_query)
    check = EngineCheck(engine)
    health.register(
        name,
        check,
        timeout_seconds=settings.database_check_timeout_seconds,
        cancel=check.cancel,
        measures_latency=True,
    )


def record_check(
    settings: Settings, name: str, result: CheckResult, duration_seconds: float
) -> None:
    """Count one run of a check, and set the gauges of what it measured."""
    instruments.record_check(name, result.healthy, duration_seconds)
    RECENT_EVENTS.record_check_result(name, result)
    free_gb = result.details.get("free_gb")
    if name == "disk" and free_gb is not None:
        instruments.set_disk_free(str(settings.disk_path), free_gb * BYTES_PER_GB)
