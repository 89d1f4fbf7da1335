"""The commands of the pages that no test runs, each with its reason; bash still parses them."""

from __future__ import annotations

import re

__all__ = ["REASONS", "reason_for"]

#: What a command begins with, or holds -> why it is not run.
REASONS = {
    r"(docker|podman|BUILDER=)": "needs a container engine; `make image-test` does what it can",
    r"kubectl": "needs a cluster; tests/contract/deploy checks the manifests",
    r"kustomize": "edits the manifests; tests/contract/deploy builds them",
    r"aws": "needs an account; tests/contract/deploy registers the same files with moto",
    r".*localhost:909\d": "needs Prometheus or Alertmanager; tests/monitoring runs both",
    r".*deploy\.capacity": "measures for minutes",
    r".*benchmarks": "measures for minutes",
    r"pip install": "changes the environment; tests/contract/test_package.py looks into the wheel",
    r".*\bdu -xh": "reads the whole disk",
}


def reason_for(command: str) -> str | None:
    """Return why *command* is not run, or None if it is."""
    for pattern, reason in REASONS.items():
        if re.match(pattern, command, re.S):
            return reason
    return None
