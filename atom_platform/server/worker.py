"""The worker whose probes are answered whatever its requests do."""

from __future__ import annotations

from gunicorn.workers.gthread import ThreadWorker

__all__ = ["HealthLaneWorker"]


class HealthLaneWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no annotations
    """gunicorn's threaded worker with a lane of its own for health requests."""
