"""Write the licences in a CycloneDX file as a table: `python -m deploy.release.licences FILE`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["table"]

HEAD = """\
# Licences

What the service is made of besides its own code, which is under Apache-2.0; read from the packages
by `make sbom`.

| package | version | licence |
| --- | --- | --- |
"""

TAIL = """
The status page brings a copy of uPlot {version} (MIT; `atom_platform/status/static/vendor`).
"""
ASSETS = Path(__file__).parent.parent / "assets" / "package.json"


def table(sbom: dict[str, Any]) -> str:
    """Return the page for the components of *sbom*."""
    rows = sorted(
        (
            component["name"].lower(),
            component["version"],
            ", ".join(licences(component)) or "not stated",
        )
        for component in sbom["components"]
    )
    vendored = json.loads(ASSETS.read_text())["dependencies"]
    tail = TAIL.format(version=vendored["uplot"])
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows) + tail


def licences(component: dict[str, Any]) -> Iterator[str]:
    """Yield the licences by their SPDX names where the package says so, else in its own words."""
    for choice in component.get("licenses", []):
        licence = choice.get("license", {})
        text = choice.get("expression") or licence.get("id") or licence.get("name")
        if text:
            yield " ".join(text.split()[:12])  # some packages state the whole text as the name


if __name__ == "__main__":
    sys.stdout.write(table(json.loads(Path(sys.argv[1]).read_text())))
