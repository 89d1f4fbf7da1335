"""
Structured logs: one JSON object a line, for everything that a process of the service has to say.
"""

from __future__ import annotations

from atom_platform.logs.config import configure_structlog
from atom_platform.logs.context import RequestContext, log_request, propagate
from atom_platform.logs.logger import get_logger

__all__ = ["RequestContext", "configure_structlog", "get_logger", "log_request", "propagate"]
