"""The walls of docs/adr/0001-layout.md: who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "atom_platform"

#: Third-party library -> the only files, relative to the package, that may import it.
MAY_IMPORT = {
    "flask": ("app.py", "monitoring.py", "*/views.py", "*/http.py", "agents/*views.py"),
    "werkzeug": (
        "app.py",
        "*/views.py",
        "*/http.py",
        "metrics/bodies.py",
        "metrics/endpoints.py",
        "agents/*.py",
    ),
    "prometheus_client": ("metrics/*.py", "tools/*.py"),
    "structlog": ("logs/*.py",),
    "orjson": ("logs/*.py", "health/*.py", "agents/*.py"),
    "sqlalchemy": ("database/*.py", "agents/store.py"),
    "alembic": ("database/*.py",),
    "psycopg": ("database/*.py",),
    "sqlite3": ("database/*.py",),
    "gunicorn": ("server/_compat_gunicorn.py", "logs/gunicorn.py"),
    "flask_swagger_ui": ("agents/reference/*.py",),
    "yaml": ("tools/*.py",),
    "click": ("cli.py", "tools/*.py"),
    "rich": ("tools/top.py",),
    "urllib3": ("skills/builtin/*.py",),
    "jinja2": ("skills/*.py", "agents/*.py"),
    "redis": ("health/checks/redis.py",),
}

#: The first pattern that fits gives a file its level; it imports from lower levels only,
#: and from its own package's files of the same level.
LEVELS = (
    ("__main__.py", 60),
    ("cli.py", 58),
    ("app.py", 55),
    ("monitoring.py", 50),
    ("extension/request_record.py", 1),
    ("trace_context.py", 0),
    ("adoption/*", 45),
    ("tools/*", 52),
    ("*/views.py", 40),
    ("agents/*views.py", 40),
    ("metrics/http.py", 40),
    ("metrics/answer.py", 40),
    ("metrics/bodies.py", 40),
    ("metrics/hang_ups.py", 30),
    ("metrics/endpoints.py", 40),
    ("agents/service.py", 35),
    ("agents/store.py", 33),
    ("agents/runner.py", 33),
    ("health/registry.py", 35),
    ("server/*", 35),
    ("settings.py", 1),
    ("env_parsers.py", 0),
    ("cgroups.py", 0),
    ("forking.py", 0),
    ("ids.py", 0),
    ("timestamps.py", 0),
    ("__init__.py", 0),
    ("health/check.py", 0),
    ("agents/model.py", 0),
    ("metrics/definitions.py", 0),
    ("metrics/samples.py", 5),
    ("metrics/scrape/page.py", 25),
    ("metrics/scrape/exposition.py", 25),
    ("metrics/storage/*", 10),
    ("metrics/scrape/*", 15),
    ("health/checks/*", 10),
    ("metrics/*", 20),
    ("*", 30),
)


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def level_of(name: str) -> int:
    return next(level for pattern, level in LEVELS if fnmatch(name, pattern))


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of every module that *path* imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}


def own_imports(path: Path) -> set[str]:
    """
    Return the files of the package that *path* imports, relative to it.

    Not the `__init__` of its own folder: what that re-exports lies in siblings, which import one
    another by way of it.
    """
    found = set()
    for module in imports(path):
        if not module.startswith("atom_platform."):
            continue
        target = PACKAGE.joinpath(*module.split(".")[1:])
        if target.with_suffix(".py").is_file():
            found.add(name_of(target.with_suffix(".py")))
        elif (target / "__init__.py").is_file():
            found.add(name_of(target / "__init__.py"))
    return found - {name_of(path), name_of(path.parent / "__init__.py")}


@pytest.mark.parametrize("library", MAY_IMPORT)
def test_library_stays_behind_its_wall(library: str) -> None:
    trespassers = {
        name_of(path)
        for path in sources()
        for module in imports(path)
        if module.split(".")[0] == library
        and not any(fnmatch(name_of(path), pattern) for pattern in MAY_IMPORT[library])
    }

    assert trespassers == set()


@pytest.mark.parametrize("name", [name_of(path) for path in sources()])
def test_imports_point_downwards(name: str) -> None:
    """A package's own __init__ counts as empty: what it re-exports lies in its siblings."""
    package = name.rpartition("/")[0]

    upwards = {
        other
        for other in own_imports(PACKAGE / name)
        if level_of(other) >= level_of(name)
        and other.rpartition("/")[0] != package
        and not (level_of(other) == level_of(name) and package.startswith(other.split("/")[0]))
        and not other.endswith("__init__.py")
    }

    assert upwards == set()


def test_no_import_cycles() -> None:
    graph = {name_of(path): own_imports(path) for path in sources()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for other in graph[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_health_imports_no_other_package() -> None:
    """The modules at the root that everybody uses are no package."""
    foreign = {
        (name_of(path), other)
        for path in (PACKAGE / "health").rglob("*.py")
        for other in own_imports(path)
        if not other.startswith("health/")
        and other not in ("cgroups.py", "forking.py", "timestamps.py")
    }

    assert foreign == set()


@pytest.mark.parametrize(
    "path", [path for path in sources() if name_of(path) != "metrics/definitions.py"], ids=name_of
)
def test_modules_are_small(path: Path) -> None:
    """400 lines is where a module has a second reason to change (a table has only rows)."""
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize(
    "module", ["atom_platform", "atom_platform.settings", "atom_platform.server.hooks"]
)
def test_importing_it_loads_no_library(module: str) -> None:
    """gunicorn imports these before the metrics directory exists."""
    code = (
        f"import sys, {module}; "
        "print({'flask', 'prometheus_client', 'sqlalchemy', 'structlog'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
