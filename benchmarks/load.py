"""Runs `ab` and `wrk` as the guide writes them, and parses their output."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["MissingToolError", "ab", "parse_ab", "parse_wrk", "percentiles_of_csv", "wrk"]

#: wrk prints P50, P75, P90 and P99 by itself; the guide asks for P95. It changes no request.
_REPORT: Final = """
done = function(summary, latency, requests)
  io.write(string.format("percentiles %d %d %d\\n",
    latency:percentile(50), latency:percentile(95), latency:percentile(99)))
  local errors = summary.errors
  io.write(string.format("failed %d\\n",
    errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
"""


class MissingToolError(RuntimeError):
    """A load generator is not installed."""


def ab(
    url: str, *, requests: int, concurrency: int, keep_alive: bool = False, timeout: float = 120.0
) -> dict[str, float]:
    """
    Run `ab -n requests -c concurrency url`.

    Its table of percentiles has whole milliseconds only; the CSV file it writes has the rest.
    """
    with tempfile.TemporaryDirectory() as directory:
        table = Path(directory, "percentiles.csv")
        command = [_tool("ab"), "-q", "-n", str(requests), "-c", str(concurrency)]
        command += ["-e", str(table), *(["-k"] if keep_alive else []), url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode:
            return {"rps": 0.0, "failed": float(requests)}
        return {**parse_ab(done.stdout), **percentiles_of_csv(table.read_text())}


def parse_ab(text: str) -> dict[str, float]:
    """Return requests per second and failures, responses other than 2xx included."""
    rps = re.search(r"^Requests per second:\s+([0-9.]+)", text, re.MULTILINE)
    failed = re.search(r"^Failed requests:\s+(\d+)", text, re.MULTILINE)
    lengths = re.search(r"Connect: \d+, Receive: \d+, Length: (\d+)", text)
    refused = re.search(r"^Non-2xx responses:\s+(\d+)", text, re.MULTILINE)
    if rps is None or failed is None:
        raise ValueError("that is not what ab prints")
    # A body of another length than the first is a "failure" to ab, and a fresh timestamp to us.
    failures = int(failed[1]) - (int(lengths[1]) if lengths else 0)
    failures += int(refused[1]) if refused else 0
    return {"rps": float(rps[1]), "failed": float(failures)}


def percentiles_of_csv(text: str) -> dict[str, float]:
    """Return the three percentiles from the file of `ab -e`."""
    rows = {row[0]: float(row[1]) for row in list(csv.reader(text.splitlines()))[1:]}
    return {f"p{percent}_ms": rows[str(percent)] for percent in (50, 95, 99)}


def wrk(
    url: str, *, connections: int, seconds: int, threads: int | None = None
) -> dict[str, float]:
    """Run `wrk -t… -c… -d…s url`; as many threads as connections, as the guide has it."""
    threads = threads or min(connections, 10)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_REPORT)
        script.flush()
        command = [_tool("wrk"), f"-t{threads}", f"-c{connections}", f"-d{seconds}s"]
        command += ["-s", script.name, url]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + 60, check=True
        )
    return parse_wrk(done.stdout)


def parse_wrk(text: str) -> dict[str, float]:
    """Return requests per second, percentiles and failures from what wrk and our script print."""
    rps = re.search(r"^Requests/sec:\s+([0-9.]+)", text, re.MULTILINE)
    found = re.search(r"^percentiles (\d+) (\d+) (\d+)$", text, re.MULTILINE)
    failed = re.search(r"^failed (\d+)$", text, re.MULTILINE)
    if rps is None or found is None or failed is None:
        raise ValueError("that is not what wrk prints")
    p50, p95, p99 = (int(each) / 1000 for each in found.groups())
    return {
        "rps": float(rps[1]),
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "failed": float(failed[1]),
    }


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        package = {"ab": "apache2-utils"}.get(name, name)
        raise MissingToolError(f"{name} is not installed (Debian: apt-get install {package})")
    return found
