"""The code blocks of our pages, as a reader would copy them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.service import ROOT

__all__ = ["PAGES", "Command", "Snippet", "commands_of", "parses", "snippets_of"]

PAGES = [
    path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "_build" not in path.parts
]

FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<info>[^`]*)$")
MARK = re.compile(r"^ *<!-- snippet: (?P<mark>.+?) -->$")


@dataclass(frozen=True, slots=True)
class Snippet:
    """
    One fenced block.

    Attributes:
        page: The file.
        line: Of its first line of code, from 1.
        language: As the fence says; a fence that says nothing holds commands.
        mark: What a comment before the fence says about it: `file NAME`, `server` …
        text: The code.
    """

    page: Path
    line: int
    language: str
    mark: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a block, and what the page shows as its output."""

    text: str
    output: tuple[str, ...]


def snippets_of(page: Path) -> Iterator[Snippet]:
    """Yield the blocks of *page*; those of Sphinx's own, `{…}`, are for Sphinx to check."""
    lines = page.read_text().splitlines()
    mark, number = "", 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if found := MARK.match(line):
            mark = found["mark"]
        elif opened := FENCE.match(line):
            start = number
            while lines[number].strip() != opened["ticks"]:
                number += 1
            indent = len(opened["indent"])
            text = "\n".join(each[indent:] for each in lines[start:number])
            language = opened["info"].strip() or "sh"
            number += 1
            if not language.startswith("{"):
                yield Snippet(page, start + 1, language, mark, text + "\n")
            mark = ""
        elif line.strip():
            mark = ""


def commands_of(snippet: Snippet) -> list[Command]:
    """
    Return the commands of a block of shell, in order.

    Lines that begin with `$ ` are commands, and what follows each is its output; without any such
    line all are commands.
    """
    lines = snippet.text.splitlines()
    if not any(line.startswith("$ ") for line in lines):
        return [Command(text, ()) for text in _whole(lines)]
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip():
            found[-1][1].append(line)
    return [Command(text, tuple(output)) for text, output in found]


def _whole(lines: list[str]) -> Iterator[str]:
    """Join lines to commands: what ends in a backslash, or does not parse yet, goes on."""
    begun = ""
    for line in lines:
        begun += line + "\n"
        if begun.strip() and not begun.endswith("\\\n") and parses(begun):
            if not begun.lstrip().startswith("#"):
                yield begun.strip()
            begun = ""
    if begun.strip():
        yield begun.strip()


def parses(command: str) -> bool:
    """Return whether bash can read *command*."""
    done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, check=False)
    return done.returncode == 0
