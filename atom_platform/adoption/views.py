"""The endpoints that every monitored application gets."""

from __future__ import annotations

from flask import Blueprint

from atom_platform.access import Access, Verdict
from atom_platform.health import views as health_views
from atom_platform.health.registry import HealthRegistry
from atom_platform.metrics.scrape import views as metrics_views
from atom_platform.metrics.scrape.page import MetricsPage
from atom_platform.server.drain import is_draining
from atom_platform.settings import Settings
from atom_platform.status import views as status_views

__all__ = ["access_of", "create_blueprints"]


def access_of(settings: Settings) -> Access:
    """Return who may read metrics and the details of readiness."""
    token = settings.metrics_token
    return Access(token=token.value if token else None, management_port=settings.management_port)


def create_blueprints(
    health: HealthRegistry,
    access: Access,
    page: MetricsPage,
    *,
    status_page: bool = False,
) -> tuple[Blueprint, ...]:
    """Return the routes of the probes, of the scrape and, if wanted, of the status page."""
    blueprints = [
        health_views.create_blueprint(
            health,
            is_draining=is_draining,
            shows_checks=lambda environ: access.verdict(environ) is Verdict.OPEN,
        ),
        metrics_views.create_blueprint(page, verdict=access.verdict),
    ]
    if status_page:
        blueprints.append(
            status_views.create_blueprint(health, is_draining=is_draining, access=access)
        )
    return tuple(blueprints)
