"""One commit makes one image, whatever else lies about in the checkout that it is built in."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.service.image.conftest import buildah
from tests.service.image.podman import inspect_image
from tests.support.service import ROOT
from tests.support.stalls import scaled

LITTER = {
    ".env": "DATABASE_URL=postgresql://atom:hunter2@db/atom\n",
    "id_rsa": "-----BEGIN OPENSSH PRIVATE KEY-----\n",
    "var/atom.db": "somebody's agents",
    "atom_platform/__pycache__/app.cpython-311.pyc": "made elsewhere",
    "deploy/image/notes.txt": "not for the image",
    "tests/left_over.py": "",
}


@pytest.mark.timeout(500)
def test_a_littered_checkout_makes_the_same_image(image: str, tmp_path: Path) -> None:
    """Built anew from a copy: the same layers to the last byte."""
    context = tmp_path / "checkout"
    shutil.copytree(
        ROOT,
        context,
        ignore=shutil.ignore_patterns(".venv", ".*_cache", "__pycache__", "var"),
        symlinks=True,
    )
    for name, text in LITTER.items():
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    again = f"{image}-again"

    try:
        built = subprocess.run(
            ["deploy/image/build.sh", again, "--no-cache"],
            cwd=context,
            env={**os.environ, "BUILDER": "buildah"},
            capture_output=True,
            text=True,
            timeout=scaled(400),
            check=False,
        )

        assert built.returncode == 0, built.stderr[-2000:]
        assert inspect_image(again)["RootFS"] == inspect_image(image)["RootFS"]
    finally:
        buildah("rmi", again)
