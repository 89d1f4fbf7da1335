"""The files and names that a newcomer is pointed to exist: docs/architecture.md and the README."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.service import ROOT

PACKAGE = ROOT / "atom_platform"
PAGE = ROOT / "docs" / "architecture.md"
README = ROOT / "README.md"

FILE = r"[\w./-]+\.(?:py|md)"


def questions() -> list[tuple[str, str, str]]:
    """Return the rows of the table of questions: question, file, and what is in it."""
    table = PAGE.read_text().partition("| question | file | in it |")[2].partition("\n\n")[0]
    rows = [re.split(r" \| ", line.strip("| ")) for line in table.splitlines()[2:]]
    return [(question, file.strip("`"), names) for question, file, names in rows]


def diagrams() -> list[str]:
    """Return the drawings of the README's section about the ways through the code."""
    section = README.read_text().partition("## How a request")[2].partition("\n## ")[0]
    return re.findall(r"```text\n(.*?)```", section, re.S)


def defined_in(file: str) -> set[str]:
    """Return the functions and classes of a file of the package, and `Class.method`."""
    found: set[str] = set()
    for node in ast.parse((PACKAGE / file).read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{each.name}"
                for each in node.body
                if isinstance(each, ast.FunctionDef)
            }
    return found


@pytest.mark.parametrize(
    ("file", "names"), [row[1:] for row in questions()], ids=[row[0] for row in questions()]
)
def test_the_answer_to_a_question_exists(file: str, names: str) -> None:
    """Each name is defined in the file of its row, or in the one that follows it in the text."""
    current = [file, *re.findall(rf"`({FILE})`", names)]
    known = set().union(*(defined_in(each) for each in current))

    named = {each for each in re.findall(r"`([A-Za-z_][\w.]*)`", names) if "/" not in each}
    named -= {each for each in named if each.endswith(".py")}

    assert named - known == set()


def test_every_file_that_the_page_names_exists() -> None:
    text = PAGE.read_text()
    named = set(re.findall(rf"`({FILE}|[\w-]+/)`", text))

    missing = {
        each for each in named if not any((base / each).exists() for base in (PACKAGE, ROOT))
    }

    assert missing == set()
    assert len(named) > 25


def test_the_diagrams_name_files_that_exist() -> None:
    """Four ways through the code, of at most eight steps each."""
    drawings = diagrams()

    for drawing in drawings:
        assert len(drawing.splitlines()) <= 8
        for file in re.findall(FILE, drawing):
            assert (PACKAGE / file).exists() or (ROOT / file).exists(), file
    assert len(drawings) == 4
