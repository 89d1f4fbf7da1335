"""A recorder and an access log that remember, to see what the middleware tells them."""

from __future__ import annotations

from typing import Any

from atom_platform.extension.request_record import RequestRecord
from atom_platform.logs.context import RequestScope

__all__ = ["Counts"]


class Counts:
    """What was counted and logged so far."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, int]] = []
        self.durations: list[float] = []
        self.exceptions: list[tuple[str, str]] = []
        self.aborted: list[str] = []
        self.queued: list[float] = []
        self.bytes: list[int] = []
        self.in_progress = 0.0

    def record_request(self, record: RequestRecord, in_progress: float = 0.0) -> None:
        self.in_progress += in_progress
        self.requests.append((record.method, record.endpoint, record.status))
        self.durations.append(record.seconds)

    def add_in_progress(self, delta: float) -> None:
        self.in_progress += delta

    def observe_queue(self, seconds: float) -> None:
        self.queued.append(seconds)

    def count_exception(self, endpoint: str, type_name: str) -> None:
        self.exceptions.append((endpoint, type_name))

    def count_aborted(self, reason: str) -> None:
        self.aborted.append(reason)

    def begin(self, exchange: RequestScope, environ: dict[str, Any]) -> None:
        exchange.request_id = "req-1"

    def write(self, exchange: RequestScope, record: RequestRecord) -> None:
        self.bytes.append(record.body_bytes)

    def observe(self, record: RequestRecord) -> None:
        self.bytes.append(record.body_bytes)
