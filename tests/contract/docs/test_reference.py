"""What the pages repeat of the code is as it is in the code, and what they name exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from atom_platform.app import create_app
from atom_platform.cli import COMMANDS
from atom_platform.settings import Settings
from tests.contract.test_guide import tables
from tests.support.service import ROOT
from tests.support.snippets import PAGES

every_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix()
)

#: Variables that are named like our settings, and set by whoever runs our tests or images.
NO_SETTINGS: set[str] = set()


@pytest.mark.parametrize("section", tables().SECTIONS)
def test_generated_parts_are_current(section: str) -> None:
    """`make tables` renews them."""
    _, now, renewed = tables().written(section)

    assert now == renewed


@every_page
def test_settings_that_a_page_names_exist(page: Path) -> None:
    known = {each.metadata["variable"] for each in vars(Settings)["__dataclass_fields__"].values()}

    named = set(re.findall(r"\bATOM_[A-Z_]*[A-Z]\b", page.read_text()))

    assert named - known - NO_SETTINGS == set()


@every_page
def test_commands_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    known = set(COMMANDS)

    for target in re.findall(r"(?:`|^|[A-Z]+=\S+ )make ([a-z][a-z-]*)", text, re.M):
        assert target in targets
    for command in re.findall(
        r"(?:python -m atom_platform|(?:^|`)atom-platform) ([a-z][a-z-]*)", text
    ):
        assert command in known


@every_page
def test_files_that_a_page_names_exist(page: Path) -> None:
    """Those in backquotes, from the root of the project; the rest are links, checked elsewhere."""
    folders = "|".join(("atom_platform", "benchmarks", "deploy", "docs", "tests"))
    named = re.findall(rf"`((?:{folders})/[\w./-]+)`", page.read_text())

    # What is made by a command may not be there yet; and a page may tell how to make one.
    missing = {each for each in named if not (ROOT / each).exists() and each not in MADE}

    assert missing == set()


MADE = {"benchmarks/results/", "docs/runbooks/BodiesBreak.md"}


def test_the_tables_of_checks_are_what_the_service_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both tables, and nothing but what is registered."""
    monkeypatch.chdir(tmp_path)
    health = create_app().extensions["atom"].health
    registered = set(health._registrations)  # a gate that has been passed is in no answer

    for page in (ROOT / "README.md", ROOT / "docs/reference/checks.md"):
        table = page.read_text().partition("| check | healthy while |")[2].partition("\n\n")[0]
        assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == registered, page


def test_every_extra_of_the_package_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = (ROOT / "docs/adopt.md").read_text().partition("| extra | for |")[2]
    explained = set(re.findall(r"`([a-z]+)`", table.partition("\n\n")[0]))

    assert explained == set(project["optional-dependencies"])
