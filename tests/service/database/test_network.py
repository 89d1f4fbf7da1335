"""Faults that need a private network: dropped packets, a silent name server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

from tests.support.stalls import scaled

TOOLS = ("unshare", "ip", "iptables", "mount")


def in_a_network_of_its_own(scenario: str) -> dict[str, Any]:
    """Run one of `tests.service.database.network`'s scenarios; return what it measured."""
    own = ["unshare", "--net", "--mount"]
    if os.geteuid() != 0 or not all(map(shutil.which, TOOLS)):
        pytest.skip("needs root, and " + ", ".join(TOOLS))
    if subprocess.run([*own, "true"], capture_output=True).returncode:
        pytest.skip("namespaces are not permitted here")
    done = subprocess.run(
        [*own, sys.executable, "-m", "tests.service.database.network", scenario],
        capture_output=True,
        text=True,
        timeout=scaled(90),
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_dropped_packets() -> None:
    found = in_a_network_of_its_own("dropped")

    assert {each["said"] for each in found["pings"]} == {"Database timeout after 2.0s"}
    assert all(2 <= each["seconds"] < 4 for each in found["pings"])
    assert found["query"]["said"] == "OperationalError"
    assert found["query"]["seconds"] < 15  # tcp_user_timeout; the deadline of the query is 30
    assert found["recovery"] < scaled(2)
    assert found["work"]["said"] == "1"
    assert found["work"]["seconds"] < scaled(2)


def test_a_silent_name_server() -> None:
    """With the system's default of five seconds the recovery would take four."""
    found = in_a_network_of_its_own("resolver")

    assert found["ping"]["said"] == "Database timeout after 5.0s"
    assert 1.2 <= found["ping"]["seconds"] < 2.5  # cut short
    assert found["threads"] == 1
    assert found["recovery"] < scaled(2)
