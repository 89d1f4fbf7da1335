"""What is vendored is what npm has under the pinned version, to the byte."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.service import ROOT
from tests.support.stalls import scaled

VENDOR = ROOT / "atom_platform" / "status" / "static" / "vendor"
BUILD = ROOT / "deploy" / "assets"


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_the_pinned_version_is_the_one_that_is_served() -> None:
    version = json.loads((BUILD / "package.json").read_text())["dependencies"]["uplot"]
    locked = json.loads((BUILD / "package-lock.json").read_text())["packages"]["node_modules/uplot"]

    assert locked["version"] == version
    assert locked["integrity"].startswith("sha512-")
    assert f"(v{version})".encode() in (VENDOR / "uPlot.iife.min.js").read_bytes()[:200]
    assert "MIT License" in (VENDOR / "uPlot.LICENSE").read_text()


def test_a_rebuild_changes_nothing(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is missing: install the system package npm")
    done = subprocess.run(
        [BUILD / "build.sh", tmp_path / "vendor"],
        capture_output=True,
        text=True,
        timeout=scaled(120),
    )
    if any(sign in done.stderr for sign in ("ENOTFOUND", "EAI_AGAIN", "ETIMEDOUT", "ECONNREFUSED")):
        pytest.skip("the npm registry cannot be reached")
    assert done.returncode == 0, done.stderr

    assert contents(tmp_path / "vendor") == contents(VENDOR)
