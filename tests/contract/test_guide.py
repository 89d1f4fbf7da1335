"""What the documents promise is there, and what is there is documented: both ways."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from atom_platform.cli import COMMANDS
from atom_platform.metrics.catalog import DEFINITIONS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("section", ["settings", "metrics", "buckets"])
def test_generated_tables_are_current(section: str) -> None:
    """`make tables` renews them."""
    _, now, renewed = tables().written(section)

    assert now == renewed


#: The monitoring guide's ten families, spelled out: name, type, labels.
GUIDE = {
    "http_requests_total": ("counter", ("method", "endpoint", "status")),
    "http_request_duration_seconds": ("histogram", ("method", "endpoint")),
    "agent_executions_total": ("counter", ("agent_id", "status")),
    "agent_execution_duration_seconds": ("histogram", ("agent_id",)),
    "active_agents": ("gauge", ()),
    "skill_executions_total": ("counter", ("skill_id", "status")),
    "skill_execution_duration_seconds": ("histogram", ("skill_id",)),
    "db_query_duration_seconds": ("histogram", ("operation",)),
    "db_connections_active": ("gauge", ()),
    "db_connections_idle": ("gauge", ()),
}


@pytest.mark.parametrize("name", GUIDE)
def test_the_guides_families_are_defined(name: str) -> None:
    (definition,) = [each for each in DEFINITIONS if each.name == name]

    assert (definition.kind, definition.labels) == GUIDE[name]


def test_stored_gauges_say_how_processes_become_one() -> None:
    silent = {
        each.name
        for each in DEFINITIONS
        if each.kind == "gauge" and not each.computed and each.mode is None
    }

    assert silent == set()


def documented_endpoints() -> set[str]:
    """Return the `METHOD[|METHOD] /path` entries of the README's first table."""
    table = README.partition("## Endpoints")[2].partition("\n## ")[0]
    return {
        f"{method} {path}"
        for methods, path in re.findall(r"`([A-Z|\\]+) (/[^`?\s]*)", table)
        for method in methods.split(r"\|")
    }


def served_endpoints() -> set[str]:
    from atom_platform.app import create_app
    from atom_platform.settings import Settings

    return {
        f"{method} {rule.rule.rstrip('/')}"
        for rule in create_app(Settings(status_page="on")).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.endpoint.startswith("agents.reference.")  # files that the page loads
        or rule.endpoint == "agents.reference.page"
        if not rule.rule.startswith("/health/assets/")
    }


def test_every_endpoint_is_in_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert served_endpoints() == documented_endpoints()


@pytest.mark.parametrize(
    "document",
    [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", document.read_text())

    missing = {target for target in targets if not (document.parent / target).exists()}

    assert missing == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    page = ROOT / "docs/reference/commands.md"

    assert f"]({page.relative_to(ROOT)})" in README
    assert re.search(rf"\b{command}\b", page.read_text())
