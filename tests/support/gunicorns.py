"""Installations of several versions of gunicorn, each in a directory of its own under the venv."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.service import ROOT
from tests.support.stalls import scaled

__all__ = ["installed", "renumbered"]

#: Beside the packages of the suite, so that it goes when they go.
CACHE = Path(sys.prefix) / "gunicorn"


def installed(version: str) -> Path:
    """
    Return a directory for PYTHONPATH that holds gunicorn *version*, installed on first use.

    Raises:
        subprocess.CalledProcessError: It cannot be installed, as without a network.
    """
    target = CACHE / version
    if not (target / "gunicorn/__init__.py").is_file():
        partial = CACHE / f"{version}.partial-{os.getpid()}"  # others may install it now too
        uv = Path(sys.prefix) / "bin/uv"
        install = (
            [str(uv), "pip", "install"]
            if uv.is_file()
            else [sys.executable, "-m", "pip", "install"]
        )
        subprocess.run(
            [*install, "--quiet", "--target", str(partial), f"gunicorn=={version}"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            timeout=scaled(120),
        )
        try:
            partial.rename(target)
        except OSError:  # another process was faster
            shutil.rmtree(partial)
    return target


def renumbered(version: str, directory: Path) -> Path:
    """Return a copy of the installed gunicorn, in *directory*, that claims to be *version*."""
    import gunicorn

    shutil.copytree(Path(gunicorn.__file__).parent, directory / "gunicorn")
    file = directory / "gunicorn/__init__.py"
    numbers = ", ".join(version.split("."))
    text, found = re.subn(r"version_info = .*", f"version_info = ({numbers})", file.read_text())
    assert found == 1
    file.write_text(text)
    return directory
