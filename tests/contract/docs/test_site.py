"""The site of docs/ is made without a complaint, and needs nobody else's server."""

from __future__ import annotations

import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.service import ROOT
from tests.support.stalls import scaled

SPHINX = ROOT / ".venv" / "docs" / "bin" / "sphinx-build"
PAGES = [path.relative_to(ROOT / "docs") for path in sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(scope="module", name="site")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, made as `make docs` makes it."""
    if not SPHINX.exists():
        reason = "sphinx-build is missing: `make install-docs`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    target = tmp_path_factory.mktemp("site")
    options = ["--nitpicky", "--fail-on-warning", "--keep-going", "--quiet"]
    done = subprocess.run(
        [SPHINX, *options, "-d", target / ".doctrees", ROOT / "docs", target],
        capture_output=True,
        text=True,
        timeout=scaled(200),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


class Links(HTMLParser):
    """What a page refers to: `loaded` by the browser without a click, and `linked`."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: set[str] = set()
        self.linked: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attributes if value}
        if anchor := values.get("id"):
            self.anchors.add(anchor)
        if source := values.get("src"):
            self.loaded.add(source)
        if target := values.get("href"):
            (self.linked if tag == "a" else self.loaded).add(target)


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Links]:
    return {path: Links(path.read_text()) for path in sorted(site.rglob("*.html"))}


def test_every_page_is_made_and_can_be_found(site: Path, pages: dict[Path, Links]) -> None:
    contents = pages[site / "index.html"].linked

    for page in PAGES:
        assert site / page.with_suffix(".html") in pages
        assert page.stem == "index" or page.with_suffix(".html").as_posix() in contents


def test_it_loads_nothing_from_elsewhere(site: Path, pages: dict[Path, Links]) -> None:
    for path, links in pages.items():
        foreign = {each for each in links.loaded if re.match(r"(https?:)?//", each)}
        assert foreign == set(), path
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text()), sheet


def test_every_link_within_it_leads_somewhere(site: Path, pages: dict[Path, Links]) -> None:
    """From each page to its files, and to the headings within them."""
    files = {path: set[str]() for path in site.rglob("*") if path.is_file()}
    anchors = files | {path: links.anchors for path, links in pages.items()}
    checked = 0
    broken = set()
    for path, links in pages.items():
        for link in links.linked | links.loaded:
            if re.match(r"[a-z]+:|//", link):
                continue
            checked += 1
            file, _, anchor = link.partition("#")
            name = os.path.normpath(path.parent / file.partition("?")[0]) if file else path
            if anchor not in {"", *anchors.get(Path(name), ())} or Path(name) not in anchors:
                broken.add((path.relative_to(site).as_posix(), link))

    assert broken == set()
    assert checked > 1000
