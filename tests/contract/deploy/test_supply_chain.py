"""What the service is made of is pinned, listed and watched."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
import yaml

from deploy.release.licences import table
from tests.contract.deploy.tools import run
from tests.support.service import ROOT

PIN = re.compile(r"^([\w.-]+)(?:\[[\w,]+\])?==(\S+)(?: ; (.*?))? \\$", re.MULTILINE)
LICENCES = (ROOT / "docs" / "licences.md").read_text()
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def pinned(lock: str) -> set[str]:
    """Return the packages that *lock* installs on Linux."""
    return {
        re.sub(r"[-_.]+", "-", name).lower()
        for name, _, marker in PIN.findall((ROOT / lock).read_text())
        if "win32" not in marker and "Windows" not in marker
    }


def workflow(name: str) -> Any:
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())


def commands(name: str, job: str) -> str:
    return "\n".join(step.get("run", "") for step in workflow(name)["jobs"][job]["steps"])


@pytest.mark.parametrize(
    "lock",
    [
        "requirements.txt",
        "requirements/dev.txt",
        "requirements/deploy.txt",
        "deploy/image/requirements-build.txt",
    ],
)
def test_every_package_is_pinned_with_hashes(lock: str) -> None:
    text = (ROOT / lock).read_text()
    pins = PIN.findall(text)

    assert pins
    assert len(pins) == len(re.findall(r"^[\w.-]+.*==", text, re.MULTILINE))
    for block in re.split(r"^(?=[\w.-]+(?:\[|==))", text, flags=re.MULTILINE)[1:]:
        assert "--hash=sha256:" in block, block


def test_the_licence_of_every_package_is_listed() -> None:
    """`make sbom` renews the list."""
    rows = re.findall(r"^\| (\w[\w.-]*) \| \d", LICENCES, re.MULTILINE)
    listed = {re.sub(r"[-_.]+", "-", name) for name in rows}

    assert pinned("requirements.txt") == listed


def test_what_is_vendored_is_listed() -> None:
    package = json.loads((ROOT / "deploy" / "assets" / "package.json").read_text())

    for name, version in package["dependencies"].items():
        assert f"{name} {version} (" in LICENCES.lower()


def test_our_own_licence_is_the_same_wherever_it_is_told() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    label = f'org.opencontainers.image.licenses="{project["license"]}"'

    assert project["license"] == "Apache-2.0"
    assert [(ROOT / name).read_text().split()[:3] for name in project["license-files"]] == [
        ["Apache", "License", "Version"]
    ]
    assert label in (ROOT / "Dockerfile").read_text()


def test_no_licence_asks_for_our_own_code() -> None:
    """The lesser one does not: psycopg is used as it is, and can be replaced."""
    strong = re.compile(r"(?<!L)GPL")

    assert not strong.search(LICENCES)
    assert strong.search("AGPL-3.0-only")


def test_a_package_that_states_no_licence_shows() -> None:
    page = table({"components": [{"name": "Silent", "version": "1.0"}]})

    assert "| silent | 1.0 | not stated |" in page


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit(path: Any) -> None:
    """A tag can be moved to anything by whoever owns it, or has stolen it."""
    used = re.findall(r"uses: (\S+)", path.read_text())

    assert used
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", each) for each in used)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_token_is_left_in_the_checkout(path: Any) -> None:
    """Any later step could read it, also a test from an unknown author's pull request."""
    checkouts = [
        step
        for job in yaml.safe_load(path.read_text())["jobs"].values()
        for step in job["steps"]
        if step.get("uses", "").startswith("actions/checkout@")
    ]

    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_github_runs_what_any_machine_can_run() -> None:
    assert "bash .ci/run" in commands("ci", "check")
    assert "make image" in commands("ci", "image")
    assert "make image-test" in commands("ci", "image")


def test_workflows_are_sound() -> None:
    """No token is left behind, no untrusted text is in a script, no permission is wide."""
    linted = run("zizmor", "--offline", "--no-progress", "--strict-collection", ".github")

    assert linted.returncode == 0, linted.stdout


def test_github_would_take_the_files() -> None:
    for schema, paths in [
        ("vendor.github-workflows", WORKFLOWS),
        ("vendor.dependabot", [ROOT / ".github" / "dependabot.yml"]),
    ]:
        checked = run("check-jsonschema", "--builtin-schema", schema, *paths)

        assert checked.returncode == 0, checked.stdout


def test_every_lock_and_the_base_image_are_watched() -> None:
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]

    (packages,) = [each for each in updates if each["package-ecosystem"] == "uv"]
    locks = {
        path
        for pattern in ("requirements*.txt", "requirements/*.txt", "deploy/**/requirements*.txt")
        for path in ROOT.glob(pattern)
    }

    assert {each["package-ecosystem"] for each in updates} == {"uv", "docker", "github-actions"}
    assert {ROOT / each.strip("/") for each in packages["directories"]} == {
        path.parent for path in locks
    }
