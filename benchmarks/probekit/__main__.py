"""`python -m benchmarks.probekit URL …`; the package's docstring has examples."""

from __future__ import annotations

import argparse
import sys

from benchmarks.probekit.clients import KINDS
from benchmarks.probekit.faults import crowded, frozen, latency

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probekit")
    parser.add_argument("url", help="what is probed, such as http://127.0.0.1:8000/health/live")
    for kind in KINDS:
        option = kind.replace("_", "-")
        parser.add_argument(f"--{option}", type=int, default=0, metavar="N", help="clients")
    parser.add_argument("--poll-path", default="/health/ready", help="what pollers ask for")
    parser.add_argument("--busy-path", default="/slow", help="a path that holds a thread")
    parser.add_argument("--freeze", type=int, nargs="*", default=[], metavar="PID")
    parser.add_argument("--rate", type=float, default=50.0, help="probes a second")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--timeout", type=float, default=5.0)
    parser.add_argument("--limit-ms", type=float, default=0.0, help="exit 1 when P99 is above")
    given = parser.parse_args(arguments)
    counts = {kind: getattr(given, kind) for kind in KINDS}
    paths = {"pollers": given.poll_path, "busy": given.busy_path}
    with frozen(given.freeze), crowded(given.url, counts, paths):
        found = latency(given.url, rate=given.rate, seconds=given.seconds, timeout=given.timeout)
    for name, value in found.items():
        print(f"{name:8} {value:10.2f}")
    return int(bool(given.limit_ms) and (found["p99_ms"] > given.limit_ms or found["failed"] > 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
