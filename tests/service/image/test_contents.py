"""The image holds the service and nothing else."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.image.podman import inspect_image
from tests.support.service import ROOT

UID = 10001
MEGABYTE = 1_000_000

#: Beside what it was made from: nothing of these may be in it, wherever.
NEVER = re.compile(
    r"""/( (x86_64-linux-gnu-)?(gcc|g\+\+|cc|c\+\+|cpp|clang|ld|as)(-\d+)? | make | git
        | \.git | \.env | \.netrc | \.pypirc | pip\.conf | id_rsa | id_ed25519
        | \.cache | [^/]*\.deb | [^/]*\.o
        )$""",
    re.VERBOSE,
)
EMPTY = ("var/lib/apt/lists", "var/cache/apt", "var/log", "tmp", "root", "home", "app/var")
SKELETON = {"/root/.bashrc", "/root/.profile"}  # Debian's
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/]{16}")
PASSWORD_IN_URL = re.compile(r"\w+://[^\s/:@'\"{}<]+:(?!password@)[^\s/@'\"{}<]+@")


def files(rootfs: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(rootfs):
        yield from (Path(folder, name) for name in [*folders, *names])


def inside(rootfs: Path, path: Path) -> str:
    return f"/{path.relative_to(rootfs)}"


def test_it_says_what_it_is_and_how_to_stop_it(image: str) -> None:
    described = inspect_image(image)
    config, labels = described["Config"], described["Labels"]

    assert config["User"] == "10001:10001"
    assert config["Cmd"] == ["gunicorn", "wsgi:app"]
    assert not config.get("Entrypoint")
    assert config["StopSignal"] in {"SIGTERM", "15"}
    assert described["Healthcheck"]["Test"] == [
        "CMD", "python", "-m", "atom_platform", "probe", "live",
    ]  # fmt: skip
    for label in ("title", "description", "version", "revision", "created"):
        assert labels[f"org.opencontainers.image.{label}"]
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", labels["org.opencontainers.image.version"])


def test_no_compiler_no_cache_no_key_is_in_it(rootfs: Path) -> None:
    found = {inside(rootfs, path) for path in files(rootfs) if not path.is_dir()}

    assert "/opt/venv/bin/gunicorn" in found
    assert {path for path in found if NEVER.search(path)} == set()
    for folder in EMPTY:
        assert {path for path in found if path.startswith(f"/{folder}/")} <= SKELETON


def test_pip_stayed_in_the_build(rootfs: Path) -> None:
    (packages,) = (rootfs / "opt/venv/lib").glob("python3*/site-packages")

    assert not list(packages.glob("pip*"))
    assert not list(packages.glob("setuptools*"))
    assert not list((rootfs / "opt/venv/bin").glob("pip*"))


def test_no_private_key_is_in_any_file(rootfs: Path) -> None:
    """Programs are left out: libraries for TLS carry keys for their own tests."""
    contents = {
        inside(rootfs, path): path.read_bytes()
        for path in files(rootfs)
        if path.is_file() and not path.is_symlink()
    }

    assert [
        name
        for name, content in contents.items()
        if PRIVATE_KEY.search(content) and not content.startswith(b"\x7fELF")
    ] == []


def test_no_password_is_in_its_description_or_our_files(image: str, rootfs: Path) -> None:
    described = json.dumps(inspect_image(image))
    (ours,) = (rootfs / "opt/venv/lib").glob("python3*/site-packages/atom_platform")
    texts = {"image": described} | {
        inside(rootfs, path): path.read_text()
        for folder in (ours, rootfs / "app")
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }

    assert len(texts) > 20
    assert {name for name, text in texts.items() if PASSWORD_IN_URL.search(text)} == set()


def test_its_packages_are_those_of_the_lock(rootfs: Path) -> None:
    (packages,) = (rootfs / "opt/venv/lib").glob("python3*/site-packages")
    lock = (ROOT / "requirements.txt").read_text()
    pinned = {
        (re.sub(r"[-_.]+", "-", name).lower(), version)
        for name, version in re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([^\s;]+)", lock, re.MULTILINE)
    }
    installed = {
        (re.sub(r"[-_.]+", "-", name).lower(), version)
        for name, version in (
            each.name.removesuffix(".dist-info").split("-", 1)
            for each in packages.glob("*.dist-info")
        )
    }

    extra = {name for name, version in installed - pinned}
    assert extra == {"atom-platform"}
    assert {"flask", "gunicorn", "psycopg"} <= {name for name, version in installed & pinned}


def test_every_module_of_the_package_is_in_it_and_compiled(rootfs: Path) -> None:
    """Nothing could be compiled later: the file system is read-only."""
    (packages,) = (rootfs / "opt/venv/lib").glob("python3*/site-packages")
    source = ROOT / "atom_platform"
    modules = {path.relative_to(ROOT) for path in source.rglob("*.py")}

    assert {module for module in modules if not (packages / module).exists()} == set()
    compiled = {
        path.parent.parent / f"{path.name.partition('.')[0]}.py"
        for path in packages.rglob("atom_platform/**/*.pyc")
    }
    assert {module for module in modules if packages / module not in compiled} == set()


def test_its_user_can_change_nothing_but_var(rootfs: Path) -> None:
    changeable = set()
    for path in files(rootfs):
        if path.is_symlink():
            continue
        status = path.stat()
        everybody = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
        if everybody or UID in (status.st_uid, status.st_gid):
            changeable.add(inside(rootfs, path))

    assert changeable == {"/app/var"}


def test_nothing_in_it_raises_privileges(rootfs: Path) -> None:
    raising = [
        inside(rootfs, path)
        for path in files(rootfs)
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o6000
    ]

    assert raising == []


def test_it_adds_little_to_its_base(image: str, capsys: pytest.CaptureFixture[str]) -> None:
    base = inspect_image(os.environ["PYTHON_IMAGE"])["Size"] / MEGABYTE
    whole = inspect_image(image)["Size"] / MEGABYTE

    with capsys.disabled():
        print(f"\nimage: {whole:.0f} MB, {whole - base:.0f} MB of them on top of its base")

    assert whole - base < 100
