"""A fault for the duration of a block, and the latency of probes during it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

__all__ = ["crowded", "frozen", "latency"]

_ROOT: Final = Path(__file__).resolve().parents[2]
_GATHER_SECONDS: Final = 3.0


@contextlib.contextmanager
def crowded(
    url: str, counts: Mapping[str, int], paths: Mapping[str, str] | None = None
) -> Iterator[None]:
    """
    Connect *counts* clients of each kind to the server of *url*.

    Args:
        paths: The path for each kind of client; liveness by default.
    """
    if not any(counts.values()):
        yield
        return
    parts = urlsplit(url)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "benchmarks.probekit.clients"),
            *(str(parts.hostname), str(parts.port or 80)),
        ],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps({"counts": dict(counts), "paths": dict(paths or {})}) + "\n")
        process.stdin.flush()
        gathered = selectors.DefaultSelector()
        gathered.register(process.stdout, selectors.EVENT_READ)
        gathered.select(_GATHER_SECONDS)  # a server that is down never accepts all of them
        yield
    finally:
        process.kill()
        process.wait(5)
        process.stdin.close()
        process.stdout.close()


@contextlib.contextmanager
def frozen(pids: Sequence[int]) -> Iterator[None]:
    """Stop processes by SIGSTOP, as a hung machine does: the kernel ACKs, and no answer comes."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def latency(
    url: str, *, rate: float = 50.0, seconds: float = 5.0, timeout: float = 5.0
) -> dict[str, float]:
    """Return the percentiles of probing *url*, measured in another process."""
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.probekit.prober"),
            *(str(parts.hostname), str(parts.port or 80), path),
            *map(str, (rate, seconds, timeout)),
        ],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=seconds + 3 * timeout + 10,
        check=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures
