"""Probes as an orchestrator sends them, many at once, and what they were told when."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.polling import wait_until
from tests.support.service import Service
from tests.support.stalls import scaled

__all__ = ["Probe", "Watch", "watching"]


@dataclass(frozen=True, slots=True)
class Probe:
    """One answered probe: when it was sent, how long it took (seconds), and what it said."""

    sent_at: float
    seconds: float
    status: int
    body: dict[str, Any]


@dataclass
class Watch:
    """
    What readiness and liveness said since the watch began.

    Attributes:
        ready: Answers of `/health/ready`, of all pollers.
        live: Answers of `/health/live`, sent one after the other.
        lost: Probes that got no answer.
    """

    ready: list[Probe] = field(default_factory=list)
    live: list[Probe] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def until(
        self, status: int, since: float, *, seconds: float, unhealthy: str | None = None
    ) -> Probe:
        """
        Wait for an answer to a readiness probe sent after *since*, and return it.

        Args:
            status: What it must have.
            since: On the monotonic clock.
            seconds: How long to wait, on a quiet machine.
            unhealthy: A check that it must call unhealthy: on a busy machine another one may be
                overdue first.
        """

        def fits(probe: Probe) -> bool:
            return (
                probe.sent_at >= since
                and probe.status == status
                and (unhealthy is None or not probe.body["checks"][unhealthy]["healthy"])
            )

        probe = wait_until(
            lambda: next((each for each in list(self.ready) if fits(each)), False), seconds=seconds
        )
        assert isinstance(probe, Probe)
        return probe

    def until_all_ready(self) -> None:
        """Wait until every worker is: for two seconds each answer, whoever gave it, said so."""

        def all_ready() -> bool:
            recent = [p for p in list(self.ready) if p.sent_at > time.monotonic() - 2]
            return (recent[-1].sent_at - recent[0].sent_at > 1.5 if recent else False) and all(
                probe.status == 200 for probe in recent
            )

        wait_until(all_ready, seconds=40)

    def slowest_ready(self) -> float:
        return max(probe.seconds for probe in self.ready)

    def live_quantile(self, share: float) -> float:
        """Return what *share* of the liveness answers did not exceed, in seconds."""
        ordered = sorted(probe.seconds for probe in self.live)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _ask(service: Service, path: str, into: list[Probe], lost: list[str], timeout: float) -> None:
    sent_at = time.monotonic()
    try:
        answer = service.get(path, timeout=timeout)
    except (OSError, http.client.HTTPException) as error:
        lost.append(f"{path}: {type(error).__name__}")
    else:
        into.append(Probe(sent_at, time.monotonic() - sent_at, answer.status, answer.json()))


def _poller(ask: Callable[[], None], over: threading.Event, every: float) -> threading.Thread:
    def run() -> None:
        while not over.is_set():
            ask()
            over.wait(every)

    return threading.Thread(target=run, daemon=True)


@contextmanager
def watching(service: Service, *, pollers: int = 8, every: float = 0.1) -> Iterator[Watch]:
    """Ask for readiness with *pollers* clients, for liveness with one more."""
    watch, over = Watch(), threading.Event()
    threads = [
        _poller(lambda: _ask(service, "/health/ready", watch.ready, watch.lost, 20), over, every)
        for _ in range(pollers)
    ]
    threads.append(
        _poller(lambda: _ask(service, "/health/live", watch.live, watch.lost, 20), over, 0.02)
    )
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        over.set()
        for thread in threads:
            with contextlib.suppress(RuntimeError):
                thread.join(scaled(25))
