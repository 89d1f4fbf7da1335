"""
The stopwatch: one connection a probe, begun on schedule, timed from connect to the last byte.

`python -m benchmarks.probekit.prober HOST PORT PATH RATE SECONDS TIMEOUT` prints JSON.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import socket
import sys
import time
from typing import Final

__all__ = ["probe"]

_READ_BYTES: Final = 65536


class _Probe:
    """One probe under way."""

    __slots__ = ("answer", "sent", "sock", "started")

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answer = b""
        self.sent = False
        self.started = time.perf_counter()
        self.sock.connect_ex(address)


def probe(
    host: str, port: int, path: str, *, rate: float, seconds: float, timeout: float
) -> dict[str, float]:
    """
    Probe *rate* times a second.

    Returns:
        Percentiles in milliseconds; a probe without an answer counts as *timeout*, and as failed.
        `late_ms` is by how much this process itself missed its schedule, at worst.
    """
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    address = socket.gethostbyname(host), port
    poller = selectors.DefaultSelector()
    waiting: dict[int, _Probe] = {}
    latencies: list[float] = []
    failed = late = 0.0
    started = time.perf_counter()
    number, total = 0, int(rate * seconds)

    def finish(each: _Probe, now: float) -> None:
        nonlocal failed
        del waiting[each.sock.fileno()]
        poller.unregister(each.sock)
        each.sock.close()
        if each.answer[9:12] == b"200":
            latencies.append(now - each.started)
        else:
            failed += 1
            latencies.append(max(timeout, now - each.started))

    while number < total or waiting:
        now = time.perf_counter()
        due = started + number / rate
        if number < total and now >= due:
            late = max(late, now - due)
            made = _Probe(address)
            waiting[made.sock.fileno()] = made
            poller.register(made.sock, selectors.EVENT_WRITE, made)
            number += 1
            continue
        for each in [each for each in waiting.values() if now - each.started > timeout]:
            finish(each, now)
        pause = max(0.0, min(0.05, due - now)) if number < total else 0.05
        for key, _ in poller.select(pause):
            each = key.data
            try:
                if not each.sent:
                    each.sock.send(request)
                    each.sent = True
                    poller.modify(each.sock, selectors.EVENT_READ, each)
                    continue
                data = each.sock.recv(_READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if data:
                each.answer += data
            else:
                finish(each, time.perf_counter())
    latencies.sort()
    return {
        **{f"p{percent}_ms": _percentile(latencies, percent) for percent in (50, 95, 99)},
        "max_ms": latencies[-1] * 1000,
        "failed": failed,
        "probes": float(len(latencies)),
        "late_ms": late * 1000,
    }


def _percentile(ordered: list[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000


if __name__ == "__main__":
    gc.disable()  # for some seconds; a collection would look like a slow server
    with contextlib.suppress(OSError):
        os.nice(-10)  # the stopwatch must not queue behind what it measures
    figures = probe(
        sys.argv[1],
        int(sys.argv[2]),
        sys.argv[3],
        rate=float(sys.argv[4]),
        seconds=float(sys.argv[5]),
        timeout=float(sys.argv[6]),
    )
    print(json.dumps(figures))
