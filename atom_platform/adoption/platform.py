"""What a monitored application carries about, for the server that runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from atom_platform.extension.request_record import RequestRecord
from atom_platform.health.registry import HealthRegistry
from atom_platform.health.responses import HealthResponse
from atom_platform.metrics.scrape.page import MetricsPage
from atom_platform.settings import Settings

__all__ = ["EXTENSION", "Platform"]

#: Where an application keeps what belongs to it.
EXTENSION: Final = "atom"


@dataclass(frozen=True, slots=True)
class Platform:
    """
    What `Monitoring` leaves in `app.extensions["atom"]`.

    Attributes:
        settings: The settings it was made with.
        health: The readiness checks.
        live_body: Makes the body of the liveness answer, for servers that give it themselves.
        ready_answer: Makes the readiness answer for them; None when that might take time, or the
            answer depends on who asks.
        observe_request: Counts and logs a request that was answered outside of the application.
        page: What a scrape shows, for them too; None when the answer depends on who asks.
        wsgi_app: The application as it was left. What somebody wraps it in later, a login for
            example, is to see the scrapes.
    """

    settings: Settings
    health: HealthRegistry
    live_body: Callable[[], bytes]
    ready_answer: Callable[[], HealthResponse | None]
    observe_request: Callable[[RequestRecord], None]
    page: MetricsPage | None
    wsgi_app: Callable[..., Any]
