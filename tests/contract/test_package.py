"""What `pip install atom-platform` brings: all of the package, and no more than is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.service import ROOT
from tests.support.stalls import scaled

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def requirements(*texts: str) -> dict[str, Requirement]:
    """Return the requirements by name, those of our own extras in their place."""
    found: dict[str, Requirement] = {}
    for requirement in map(Requirement, texts):
        if requirement.name == PROJECT["name"]:
            for extra in requirement.extras:
                found |= requirements(*EXTRAS[extra])
        else:
            found[canonicalize_name(requirement.name)] = requirement
    return found


def pinned(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text().splitlines()
    matches = filter(None, (re.match(r"([\w.-]+)(?:\[.*\])?==([^ ;\\]+)", line) for line in lines))
    return {canonicalize_name(found[1]): found[2] for found in matches}


def test_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    """
    Migrations, static files and py.typed too, which an installed package would miss silently.

    Built as `make wheel` does, but from a copy: setuptools would take along what it built before.
    """
    shutil.copytree(
        ROOT / "atom_platform", tmp_path / "atom_platform", ignore=shutil.ignore_patterns("*.pyc")
    )
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    package = {
        path.relative_to(tmp_path).as_posix()
        for path in (tmp_path / "atom_platform").rglob("*")
        if path.is_file()
    }

    subprocess.run(
        [Path(sys.executable).parent / "uv", "build", "-q", "--wheel", "--out-dir", "dist"],
        cwd=tmp_path,
        check=True,
        timeout=scaled(200),
    )

    (path,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert {"atom_platform/py.typed", "atom_platform/database/migrations/env.py"} <= package
    assert packed == package


def test_the_whole_platform_is_what_production_installs() -> None:
    everything = requirements(*PROJECT["dependencies"], f"{PROJECT['name']}[platform]")
    text = (ROOT / "requirements.in").read_text()
    lines = [line.split("#")[0].strip() for line in text.splitlines()]

    assert everything.keys() == requirements(*filter(None, lines)).keys()


def test_every_requirement_admits_what_is_tested() -> None:
    tested = pinned("requirements.txt") | pinned("requirements/dev.txt")
    required = requirements(
        *PROJECT["dependencies"], *(each for e in EXTRAS.values() for each in e)
    )

    refused = {
        name: tested.get(name, "not locked")
        for name, requirement in required.items()
        if name not in tested or tested[name] not in requirement.specifier
    }

    assert refused == {}
