"""Sends requests and scrapes from threads while it signals workers."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Final

from benchmarks.soak.result import Soak
from benchmarks.soak.service import PATH, WORKERS, RefusedError, RunningService, growing

__all__ = ["storm"]

CLIENTS: Final = 12
#: Seconds between two blows; a worker needs about one to start.
BLOWS_EVERY: Final = (1.0, 4.0)
#: Kills most of all, as nothing prepares for them.
BLOWS: Final = (signal.SIGKILL,) * 9 + (signal.SIGTERM,) * 5 + (signal.SIGHUP,)


def storm(
    service: RunningService, result: Soak, *, requests: int, seconds: float, rng: random.Random
) -> None:
    """Send *requests* evenly over *seconds*, or a fifth longer on a slow machine."""
    over = threading.Event()
    started = time.monotonic()
    due = iter([started + seconds * number / requests for number in range(requests)])
    clients = [
        threading.Thread(target=_client, args=(service, result, due, over)) for _ in range(CLIENTS)
    ]
    scrapers = [threading.Thread(target=_scraper, args=(service, result, over)) for _ in range(2)]
    for thread in clients + scrapers:
        thread.start()
    try:
        while any(client.is_alive() for client in clients):
            if time.monotonic() > started + 1.2 * seconds:
                break
            _blow(service, result, rng)
            pause = time.monotonic() + rng.uniform(*BLOWS_EVERY)
            while time.monotonic() < pause and any(client.is_alive() for client in clients):
                time.sleep(0.05)
    finally:
        over.set()
        for thread in clients + scrapers:
            thread.join(30)


def _client(
    service: RunningService, result: Soak, due: Iterator[float], over: threading.Event
) -> None:
    while True:
        with result.lock:
            when = next(due, None)
        if when is None or over.wait(max(0.0, when - time.monotonic())):
            return
        _ask(service, result)


def _ask(service: RunningService, result: Soak) -> None:
    try:
        status, _ = service.get(PATH)
    except RefusedError:
        outcome = "refused"  # nothing was sent
    except (OSError, http.client.HTTPException):
        outcome = "lost"
    else:
        outcome = "answered" if status == 200 else str(status)
    with result.lock:
        result.lost += outcome == "lost"
        result.answered += outcome == "answered"
        if outcome not in ("lost", "answered"):
            result.other[outcome] += 1


def _scraper(service: RunningService, result: Soak, over: threading.Event) -> None:
    seen: Mapping[str, float] = {}
    while not over.wait(0.1):
        try:
            status, body = service.get("/health/metrics")
        except RefusedError:
            continue
        except (OSError, http.client.HTTPException):
            with result.lock:
                result.scrapes_cut_off += 1
            continue
        found = growing(body) if status == 200 else {}
        with result.lock:
            result.scrapes += 1
            if not found:
                result.scrape_errors.append(str(status))
                continue
            for series, value in seen.items():
                if found.get(series, -1.0) < value:
                    result.decreases.append(f"{series} {value} → {found.get(series)}")
        seen = found


def _blow(service: RunningService, result: Soak, rng: random.Random) -> None:
    number = rng.choice(BLOWS)
    workers = service.workers()
    if number == signal.SIGHUP:
        os.kill(service.process.pid, number)
    elif len(workers) < WORKERS:
        return  # one at a time, or there is nobody left to ask
    else:
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(workers), number)
    result.blows[number.name] += 1
