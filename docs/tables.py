"""
Write the tables of settings and metrics into the documents, from the code that defines them.

`make tables` runs it; `tests/test_guide.py` fails when a document is not what this would write.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from atom_platform.metrics.definitions import DEFINITIONS, Definition  # noqa: E402 — needs the path
from atom_platform.settings import Settings  # noqa: E402 — likewise


def settings_table() -> Iterator[str]:
    yield "| variable | default | what |"
    yield "| --- | --- | --- |"
    defaults = Settings()
    for each in fields(Settings):
        value = getattr(defaults, each.name)
        yield f"| `{each.metadata['variable']}` | {shown(value)} | {each.metadata['meaning']} |"


def shown(value: object) -> str:
    if value is None or value == () or value == {}:
        return "–"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def metrics_table() -> Iterator[str]:
    yield "| metric | type | labels | processes become one by | what |"
    yield "| --- | --- | --- | --- | --- |"
    for each in sorted(DEFINITIONS, key=lambda definition: definition.name):
        labels = ", ".join(f"`{label}`" for label in each.labels) or "–"
        yield f"| `{each.name}` | {each.kind} | {labels} | {crossing(each)} | {each.help} |"


def crossing(definition: Definition) -> str:
    if definition.computed:
        return "read at the scrape"
    return definition.mode or "sum"


def bucket_list() -> Iterator[str]:
    for each in sorted(DEFINITIONS, key=lambda definition: definition.name):
        if each.buckets:
            yield f"* `{each.name}`: " + " ".join(f"{bound:g}" for bound in each.buckets)


SECTIONS: Mapping[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "settings": ("README.md", settings_table),
    "metrics": ("docs/metrics.md", metrics_table),
    "buckets": ("docs/metrics.md", bucket_list),
}


def written(section: str) -> tuple[Path, str, str]:
    """Return the document of *section*, its text now, and its text with the table renewed."""
    name, make = SECTIONS[section]
    path = ROOT / name
    text = path.read_text()
    before, start, rest = text.partition(f"<!-- {section} -->\n")
    _, end, after = rest.partition(f"<!-- /{section} -->")
    if not (start and end):
        raise ValueError(f"{name} has no section {section}")
    return path, text, before + start + "\n".join(make()) + "\n" + end + after


if __name__ == "__main__":
    for each in SECTIONS:
        document, _, new = written(each)
        document.write_text(new)
